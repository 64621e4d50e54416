package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newRaftMember() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Show the members of a group, let nodes in and take them out",
		Long: `The members of a group are what the group itself keeps; --raft-peers is only how it is found, and one
living peer is enough. A new node learns first, and is counted as a voter once it has caught up. It starts
on an empty data directory, with a list that has itself and one living peer at least. One with
--raft-observer only learns, until it is promoted.

Each of these may be repeated, and is refused where the voters that are left would be no majority.
Under TLS they take the certificate of a node or of an operator.`,
		Example: `  understudy raft member list --raft-peers a=h1:7001
  understudy raft member replace c d=h4:7001 --raft-peers a=h1:7001`,
	}
	cmd.AddCommand(newMemberList(), newMemberAdd(), newMemberRemove(), newMemberReplace(), newMemberPromote(), newMemberMove())
	return cmd
}

func newMemberList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Show the members of a group", Example: "  understudy raft member list --raft-peers a=h1:7001", Args: cli.NoArgs,
		Long: `Shows the members of a group: their addresses, who leads, votes or learns, and who does not answer.
JSON is that of raft status.
` + cli.Codes{0: "they are shown", cli.Unavailable: "nobody answers"}.String(),
	}
	return asksGroup(cmd, func(r groupReport, w io.Writer, output string) error {
		return show(w, output, r, func(w io.Writer) { listMembers(w, r.GroupStatus) })
	})
}

func listMembers(w io.Writer, g raft.GroupStatus) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MEMBER\tADDRESS\tPART\tANSWERS")
	for _, m := range g.Members {
		part, answers := "voter", "yes"
		switch {
		case m.ID == g.Leader:
			part = "leader"
		case !m.Voter && m.Node != nil && m.Node.Observes:
			part = "observes"
		case !m.Voter:
			part = "learns"
		}
		if m.Silent != "" {
			answers = "no"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", m.ID, m.Address, part, answers)
	}
	_ = table.Flush() // into a string
}

// A memberCommand is one call that changes the members of a group.
type memberCommand struct {
	*options
	wait, force bool
	out         io.Writer
}

// newMemberChange is a command that takes n arguments, which what describes and judge checks.
func newMemberChange(cmd *cobra.Command, n int, what string, codes cli.Codes, judge func(args []string) error, do func(c *memberCommand, ctx context.Context, args []string) error) *cobra.Command {
	cmd.Long = cmp.Or(cmd.Long, cmd.Short+".") + "\n" + codes.String()
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s takes %s; it was given %d arguments", cmd.CommandPath(), what, len(args))
		}
		return judge(args)
	}
	c := &memberCommand{options: newOptions(cmd.Flags(), cli.StoreKeys())}
	c.Duration(&c.Timeout, "timeout", time.Minute, "for all of it")
	cmd.Flags().BoolVar(&c.wait, "wait", true, "until a member is counted, or answers; replace and promote always wait")
	if name := cmd.Name(); name == "remove" || name == "replace" {
		cmd.Flags().BoolVar(&c.force, "force", false, "also a member whose process is active in a role, which it loses only when its promise is over")
	}
	c.Collect()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.out = cmd.OutOrStdout()
		return c.onRaft(cmd, func(ctx context.Context) error { return do(c, ctx, args) })
	}
	return cmd
}

func newMemberAdd() *cobra.Command {
	var who raft.Peer
	return newMemberChange(&cobra.Command{
		Use: "add ID=HOST:PORT", Short: "Let a node in: it learns, and is counted once it has caught up",
		Example: "  understudy raft member add d=h4:7001 --raft-peers a=h1:7001",
	}, 1, "one argument, ID=HOST:PORT",
		cli.Codes{0: "it is counted, or observes; with --wait=false it is let in", cli.NotDone: "refused, or it was let in and not counted in time", cli.Unavailable: ""},
		func(args []string) (err error) {
			who, err = onePeer(args[0])
			return err
		},
		func(c *memberCommand, ctx context.Context, _ []string) error { return c.add(ctx, who, "") })
}

func newMemberRemove() *cobra.Command {
	return newMemberChange(&cobra.Command{
		Use: "remove ID", Short: "Take a member out, dead or alive",
		Long: `Takes a member out, dead or alive. A member whose process is active in a role stays: hand over
first. The process of any other member ends with an error, because it can no longer stand by.`,
		Example: "  understudy raft member remove c --raft-peers a=h1:7001",
	}, 1, "one argument, the member's ID",
		cli.Codes{0: "it is not a member, or no longer is", cli.NotDone: "refused: the voters that are left would be no majority, or its process is active", cli.Unavailable: ""},
		func(args []string) error { return lock.CheckName("member", args[0]) },
		func(c *memberCommand, ctx context.Context, args []string) error {
			ids, err := c.members(ctx)
			if err != nil {
				return err
			}
			if !slices.Contains(ids, args[0]) {
				fmt.Fprintf(c.out, "%q is not a member: nothing was changed; %s\n", args[0], membersText(ids))
				return nil
			}
			return c.remove(ctx, args[0])
		})
}

func newMemberReplace() *cobra.Command {
	var who raft.Peer
	return newMemberChange(&cobra.Command{
		Use: "replace ID NEW=HOST:PORT", Short: "Let a node in, wait until it is counted, and take another one out",
		Example: "  understudy raft member replace c d=h4:7001 --raft-peers a=h1:7001",
	}, 2, "two arguments, the ID of who goes and ID=HOST:PORT of who comes",
		cli.Codes{0: "one is counted, and the other is taken out", cli.NotDone: "refused, or the new one was not counted in time", cli.Unavailable: ""},
		func(args []string) (err error) {
			who, err = onePeer(args[1])
			if err == nil && who.ID == args[0] {
				err = fmt.Errorf("%q is who goes and who comes: a node that lost its directory comes back by itself, and another machine takes another ID", who.ID)
			}
			return errors.Join(lock.CheckName("member", args[0]), err)
		},
		func(c *memberCommand, ctx context.Context, args []string) error {
			c.wait = true
			switch ids, err := c.members(ctx); {
			case err != nil:
				return err
			case !slices.Contains(ids, args[0]) && !slices.Contains(ids, who.ID):
				return cli.Exit(cli.NotDone, fmt.Errorf("%q is not a member: nothing was changed; %s", args[0], membersText(ids)))
			}
			if err := c.add(ctx, who, args[0]); err != nil {
				return err
			}
			return c.remove(ctx, args[0])
		})
}

// onePeer reads the argument that names a member and its address.
func onePeer(text string) (p raft.Peer, err error) {
	if !strings.Contains(text, "=") {
		return p, fmt.Errorf("member %q: write ID=HOST:PORT, such as d=h4:7001", text)
	}
	peers, err := raft.ParsePeers(text)
	var field *lock.FieldError
	switch {
	case errors.As(err, &field): // it names the setting that lists peers, which this is not
		return p, fmt.Errorf("member %q: %w", text, field.Err)
	case err != nil:
		return p, fmt.Errorf("member %q: %w", text, err)
	case len(peers) != 1:
		return p, fmt.Errorf("member %q: names %d members; write one, ID=HOST:PORT", text, len(peers))
	}
	return peers[0], nil
}

// membersText says who the members of a group are.
func membersText(ids []string) string {
	if len(ids) == 0 {
		return "the group has no members yet, as it has not begun"
	}
	return "the members are " + strings.Join(ids, ", ")
}

// add lets a node in, in the place of one that goes later, if any.
func (c *memberCommand) add(ctx context.Context, p raft.Peer, goes string) error {
	if err := raft.Change(ctx, c.Store.Raft, raft.MemberChange{Add: p, Remove: goes, Force: c.force}); err != nil {
		return cli.Unreachable(err)
	}
	if !c.wait {
		fmt.Fprintf(c.out, "member %s is let in; it is counted once it runs and has caught up\n", p.ID)
		return nil
	}
	observes := false
	err := c.await(ctx, p.ID, "let in", func(m raft.MemberStatus) string {
		switch {
		case m.Voter && m.Fails == "" && m.Silent == "":
			return "is counted"
		case m.Node != nil && m.Node.Observes && m.Behind != nil:
			observes = true
			return "observes"
		}
		return ""
	})
	if err == nil && observes && goes != "" {
		err = cli.Exit(cli.NotDone, fmt.Errorf("member %s observes, and has no vote: %s is not taken out; give %s a vote by understudy raft member promote %s, and repeat this", p.ID, goes, p.ID, p.ID))
	}
	return err
}

// await waits until a member is as done says, and tells it with how the group is. made is what was done to it.
func (c *memberCommand) await(ctx context.Context, id, made string, done func(raft.MemberStatus) string) error {
	var g raft.GroupStatus // as last seen
	for {
		now, err := raft.Status(ctx, c.Store.Raft)
		if err == nil {
			g = now
		}
		i := slices.IndexFunc(g.Members, func(m raft.MemberStatus) bool { return m.ID == id })
		if err == nil && i >= 0 {
			if what := done(g.Members[i]); what != "" {
				fmt.Fprintf(c.out, "member %s %s: %s\n", id, what, newGroupReport(g, c.Store.Raft.Peers).Health)
				return nil
			}
		}
		cli.Pause(ctx)
		if ctx.Err() == nil {
			continue
		}
		why := "it does not run yet: start it"
		switch {
		case i < 0:
		case g.Members[i].Silent != "":
			why = "it does not answer, start it: " + g.Members[i].Silent
		case g.Members[i].Fails != "":
			why = "it cannot be relied on: " + g.Members[i].Fails
		case g.Members[i].Behind != nil:
			why = fmt.Sprintf("it is %d entries behind", *g.Members[i].Behind)
		}
		return cli.Exit(cli.NotDone, fmt.Errorf("member %s is %s, and not there in time: %s; the rest happens by itself, and the same command may be repeated", id, made, why))
	}
}

func newMemberPromote() *cobra.Command {
	return newMemberChange(&cobra.Command{
		Use: "promote ID", Short: "Count a member that learns or observes as a voter, once it has caught up",
		Example: "  understudy raft member promote d --raft-peers a=h1:7001",
	}, 1, "one argument, the member's ID",
		cli.Codes{0: "it is counted", cli.NotDone: "refused, or it did not catch up in time", cli.Unavailable: ""},
		func(args []string) error { return lock.CheckName("member", args[0]) },
		func(c *memberCommand, ctx context.Context, args []string) error {
			c.wait = true
			return c.change(ctx, raft.MemberChange{Promote: args[0]}, args[0], "counted")
		})
}

func newMemberMove() *cobra.Command {
	var who raft.Peer
	return newMemberChange(&cobra.Command{
		Use: "move ID=HOST:PORT", Short: "Tell the group that a member has another address, while it works",
		Long: `Tells the group that a member is at another address. Start it there, on its own data directory and with
a list that has the new address, before or after. The others find it without a change to their lists.
Clients need a list that names at least one member that is still there.`,
		Example: "  understudy raft member move c=h9:7001 --raft-peers a=h1:7001",
	}, 1, "one argument, ID=HOST:PORT",
		cli.Codes{0: "it answers there; with --wait=false the group knows", cli.NotDone: "refused, or it did not answer there in time", cli.Unavailable: ""},
		func(args []string) (err error) {
			who, err = onePeer(args[0])
			return err
		},
		func(c *memberCommand, ctx context.Context, _ []string) error {
			return c.change(ctx, raft.MemberChange{Move: who}, who.ID, "moved")
		})
}

// change makes a change of one member, and waits until that answers.
func (c *memberCommand) change(ctx context.Context, change raft.MemberChange, id, made string) error {
	if err := raft.Change(ctx, c.Store.Raft, change); err != nil {
		return cli.Unreachable(err)
	}
	if !c.wait {
		fmt.Fprintf(c.out, "member %s is %s\n", id, made)
		return nil
	}
	if to := change.Move; to.ID != "" { // it is to answer there, and not only where the list has it
		c.Store.Raft.Peers = append(slices.DeleteFunc(slices.Clone(c.Store.Raft.Peers), func(p raft.Peer) bool { return p.ID == to.ID }), to)
	}
	return c.await(ctx, id, made, func(m raft.MemberStatus) string {
		if m.Behind == nil || m.Fails != "" || change.Promote != "" && !m.Voter {
			return ""
		}
		return "is " + made
	})
}

// members are the IDs of the group's members.
func (c *memberCommand) members(ctx context.Context) (ids []string, err error) {
	g, err := raft.Status(ctx, c.Store.Raft)
	for _, m := range g.Members {
		ids = append(ids, m.ID)
	}
	return ids, cli.Unreachable(err)
}

func (c *memberCommand) remove(ctx context.Context, id string) error {
	if err := raft.Change(ctx, c.Store.Raft, raft.MemberChange{Remove: id, Force: c.force}); err != nil {
		return cli.Unreachable(err)
	}
	fmt.Fprintf(c.out, "member %s is taken out; stop it, see that nothing starts it again, and remove its data directory\n", id)
	return nil
}
