package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
)

func newRaftMember() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Show the members of a group, let nodes in and take them out",
		Long: `The members of a group are what the group itself keeps; --raft-peers is only how it is found, and one
living peer is enough. A new node learns first, and is counted as a voter once it has caught up. It starts
on an empty data directory, with a list that has itself and one living peer at least.

Each of these may be repeated, and is refused where the voters that are left would be no majority.
Under TLS they take the certificate of a node or of an operator.`,
		Example: `  understudy raft member list --raft-peers a=h1:7001
  understudy raft member replace c d=h4:7001 --raft-peers a=h1:7001`,
	}
	cmd.AddCommand(newMemberList(), newMemberAdd(), newMemberRemove(), newMemberReplace())
	return cmd
}

func newMemberList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Show the members of a group", Example: "  understudy raft member list --raft-peers a=h1:7001", Args: cli.NoArgs,
		Long: `Shows the members of a group: their addresses, who leads, votes or learns, and who does not answer.
JSON is that of raft status.`,
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
	wait bool
	out  io.Writer
}

// newMemberChange is a command that takes n arguments, which what describes.
func newMemberChange(cmd *cobra.Command, n int, what string, do func(c *memberCommand, ctx context.Context, args []string) error) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s takes %s; it was given %d arguments", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
	c := &memberCommand{options: newOptions(cmd.Flags(), cli.StoreKeys())}
	c.Duration(&c.Timeout, "timeout", time.Minute, "for all of it")
	cmd.Flags().BoolVar(&c.wait, "wait", true, "until a new member is counted; a replacement always waits")
	c.Collect()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.out = cmd.OutOrStdout()
		return c.onRaft(cmd, func(ctx context.Context) error { return do(c, ctx, args) })
	}
	return cmd
}

func newMemberAdd() *cobra.Command {
	return newMemberChange(&cobra.Command{
		Use: "add ID=HOST:PORT", Short: "Let a node in: it learns, and is counted once it has caught up",
		Example: "  understudy raft member add d=h4:7001 --raft-peers a=h1:7001",
	}, 1, "one argument, ID=HOST:PORT", func(c *memberCommand, ctx context.Context, args []string) error {
		p, err := onePeer(args[0])
		if err != nil {
			return err
		}
		return c.add(ctx, p)
	})
}

func newMemberRemove() *cobra.Command {
	return newMemberChange(&cobra.Command{
		Use: "remove ID", Short: "Take a member out, dead or alive",
		Example: "  understudy raft member remove c --raft-peers a=h1:7001",
	}, 1, "one argument, the member's ID", func(c *memberCommand, ctx context.Context, args []string) error {
		ids, err := c.members(ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(ids, args[0]) {
			fmt.Fprintf(c.out, "%q is not a member: nothing was changed; the members are %s\n", args[0], strings.Join(ids, ", "))
			return nil
		}
		return c.remove(ctx, args[0])
	})
}

func newMemberReplace() *cobra.Command {
	return newMemberChange(&cobra.Command{
		Use: "replace ID NEW=HOST:PORT", Short: "Let a node in, wait until it is counted, and take another one out",
		Example: "  understudy raft member replace c d=h4:7001 --raft-peers a=h1:7001",
	}, 2, "two arguments, the ID of who goes and ID=HOST:PORT of who comes", func(c *memberCommand, ctx context.Context, args []string) error {
		p, err := onePeer(args[1])
		if err == nil && p.ID == args[0] {
			err = fmt.Errorf("%q is who goes and who comes: a node that lost its directory comes back by itself, and another machine takes another ID", p.ID)
		}
		if err != nil {
			return err
		}
		c.wait = true
		switch ids, err := c.members(ctx); {
		case err != nil:
			return err
		case !slices.Contains(ids, args[0]) && !slices.Contains(ids, p.ID):
			return cli.Exit(cli.NotDone, fmt.Errorf("%q is not a member: nothing was changed; the members are %s", args[0], strings.Join(ids, ", ")))
		}
		if err := c.add(ctx, p); err != nil {
			return err
		}
		return c.remove(ctx, args[0])
	})
}

func onePeer(text string) (p raft.Peer, err error) {
	peers, err := raft.ParsePeers(text)
	if err != nil {
		return p, err
	}
	if len(peers) != 1 {
		return p, fmt.Errorf("%q: names %d members; write one, ID=HOST:PORT", text, len(peers))
	}
	return peers[0], nil
}

// add lets a node in.
func (c *memberCommand) add(ctx context.Context, p raft.Peer) error {
	if err := raft.Change(ctx, c.Store.Raft, raft.MemberChange{Add: p}); err != nil {
		return cli.Unreachable(err)
	}
	if !c.wait {
		fmt.Fprintf(c.out, "member %s is let in; it is counted once it runs and has caught up\n", p.ID)
		return nil
	}
	for {
		g, err := raft.Status(ctx, c.Store.Raft)
		i := slices.IndexFunc(g.Members, func(m raft.MemberStatus) bool { return m.ID == p.ID })
		if err == nil && i >= 0 && g.Members[i].Voter {
			fmt.Fprintf(c.out, "member %s is counted: %s\n", p.ID, newGroupReport(g, c.Store.Raft.Peers).Health)
			return nil
		}
		cli.Pause(ctx)
		if ctx.Err() == nil {
			continue
		}
		why := "it does not run yet: start it, on an empty data directory"
		if i >= 0 && g.Members[i].Node != nil {
			why = fmt.Sprintf("it is %d entries behind", g.Members[i].Behind)
		}
		return cli.Exit(cli.NotDone, fmt.Errorf("member %s is let in, and was not counted in time: %s; it is counted later by itself, and the same command may be repeated", p.ID, why))
	}
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
	if err := raft.Change(ctx, c.Store.Raft, raft.MemberChange{Remove: id}); err != nil {
		return cli.Unreachable(err)
	}
	fmt.Fprintf(c.out, "member %s is taken out; stop it, and remove its data directory\n", id)
	return nil
}
