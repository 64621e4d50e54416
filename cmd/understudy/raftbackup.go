package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newRaftBackup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write what a group keeps beside its roles to a file, while it runs",
		Long: `Writes to a new file what operators have decided (pauses, drains, priorities), the values of
fencing/fencingraft, and how far tokens went: all that was acknowledged before the command began. Terms,
sessions and history are of the group alone. See raft restore. A data directory is not a backup: never
copy one back.

Under TLS it takes the certificate of a node, as values are for nodes only.
` + cli.Codes{0: "the file is written", cli.NotDone: "the file cannot be written, or the group refuses", cli.Unavailable: ""}.String(),
		Example: `  understudy raft backup group.backup --raft-peers a=h1:7001,b=h2:7001,c=h3:7001`,
		Args:    cli.OneArg("FILE, which is not there yet"),
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys())
	o.Duration(&o.Timeout, "timeout", 5*time.Second, "for an answer")
	o.Collect()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := isNew("backup", args[0]); err != nil {
			return err
		}
		return o.onRaft(cmd, func(ctx context.Context) error {
			b, err := raft.Save(ctx, o.Store.Raft)
			if err != nil {
				return cli.Unreachable(err)
			}
			if err := b.Write(args[0]); err != nil {
				return cli.Unmade(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s holds %s\n", args[0], b)
			return err
		})
	}
	return cmd
}

// isNew refuses to write a file that is there already. A file is synced, which standard output is not.
func isNew(what, file string) error {
	_, err := os.Lstat(file)
	switch {
	case file == "-":
		return fmt.Errorf("%s %q: it is written to a file, not to standard output; give another name, or ./- for a file of that name", what, file)
	case file == "":
		return fmt.Errorf("%s: no file is given; write the name of one that is not there yet", what)
	case err == nil:
		return fmt.Errorf("%s %q: there is such a file already: give another name", what, file)
	}
	return nil
}

// onRaft does something with the group of the settings, within the timeout.
func (o *options) onRaft(cmd *cobra.Command, do func(context.Context) error) error {
	if err := o.readRaft(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.Timeout)
	defer cancel()
	return cli.Refused(o.Explain(do(ctx)))
}

func newRaftRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE...",
		Short: "Put what a backup holds into a group that runs, and raise its tokens above all before",
		Long: `Replaces, in one step, what operators have decided and the values of a group by what a file
of raft backup or raft recover holds; of several files of one group, the one that knows most counts. The
group may be the same or another: a new one then answers to the identity of the old one, so that who
has seen that goes on.

Every later token is greater than any that the old group can have given: than the last one in any of the
files, by 2^40, and than --above, if you know of a greater one. It is refused while a
contender is registered: run voters only, by understudy raft-voter. It may be repeated. What it
has done is read back and checked.

Under TLS it takes the certificate of a node.
` + cli.Codes{0: "it is restored", cli.NotDone: "refused: the file is damaged, or a contender is registered", cli.Unavailable: ""}.String(),
		Example: `  understudy raft restore group.backup --raft-peers a=h1:7001,b=h2:7001,c=h3:7001`,
		Args:    atLeastOne("FILE, a backup"),
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys())
	above := cmd.Flags().Uint64("above", 0, "every later token is greater than this, too")
	o.Duration(&o.Timeout, "timeout", 10*time.Second, "for an answer")
	o.Collect()
	o.Judge = func() error { return lock.CheckFloor(lock.Token(*above)) }
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return o.onRaft(cmd, func(ctx context.Context) error {
			var all []*raft.Backup
			floor := lock.Token(*above)
			for _, file := range args {
				if err := isThere(file); err != nil {
					return err
				}
				b, err := raft.ReadBackup(file)
				if err != nil {
					return err
				}
				all, floor = append(all, b), max(floor, b.Above)
			}
			b, err := raft.Newest(all)
			if err != nil {
				return err
			}
			now, err := raft.Restore(ctx, o.Store.Raft, b, floor)
			if err != nil {
				return cli.Unreachable(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "restored %s of %s\ngroup %s answers to it; every later token is greater than %d\n",
				args[slices.Index(all, b)], b, now.Group(), floor)
			return err
		})
	}
	return cmd
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return fmt.Errorf("%s takes at least one argument, %s; it was given none", cmd.CommandPath(), what)
	}
}

func newRaftRecover() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recover DIR...",
		Short: "After a lost majority: write what the data directories that are left know to a file",
		Long: `Reads the data directories that are left of a group that has lost its majority, and changes
nothing there. It says which node knows most and what may be lost, and writes what that one knows to a new
file, which raft restore puts into a new group. Directories of other machines: run it there, and give raft restore
all the files.

It is refused while a majority of the directories is whole: then the group goes on by itself. Stop every
process of the group before, on every machine: most of its nodes together would go on as the old group
beside the new one. docs/raft.md has every step.
` + cli.Codes{0: "the file is written", cli.NotDone: "refused, as where a majority is whole, a node runs there or a directory is damaged, or the file cannot be written"}.String(),
		Example: `  understudy raft recover --out a.backup /var/lib/a`,
		Args:    atLeastOne("DIR, a data directory"),
	}
	to := cmd.Flags().String("out", "", "the file that is written, which is not there yet")
	force := cmd.Flags().Bool("force", false, "also where a majority of the directories is whole")
	cli.Once(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *to == "" {
			return errors.New("out: no file is given; write --out FILE, which is not there yet")
		}
		if err := isNew("out", *to); err != nil {
			return err
		}
		for _, dir := range args {
			if err := isThere(dir); err != nil {
				return err
			}
		}
		r, err := recoverFrom(args)
		if err == nil {
			err = r.refuse(*force)
		}
		if err != nil {
			return cli.Refused(err)
		}
		if err := r.newest.Write(*to); err != nil {
			return cli.Unmade(err)
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), r.text(*to))
		return err
	}
	return cmd
}

// A recovery is what is left of a group.
type recovery struct {
	read    []raft.Checkup
	newest  *raft.Backup
	members []raft.Member // by the word of the newest
}

func recoverFrom(dirs []string) (r recovery, err error) {
	var all []*raft.Backup
	var errs []error
	for _, dir := range dirs {
		b, c, err := raft.Recover(dir)
		for i, other := range r.read {
			if err == nil && other.Node == c.Node {
				err = fmt.Errorf("data directories %s and %s are both of node %s: one is a copy, leave out the one that is not its own", dirs[i], dir, c.Node)
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all, r.read = append(all, b), append(r.read, c)
	}
	if len(errs) > 0 {
		return r, errors.Join(errs...)
	}
	if r.newest, err = raft.Newest(all); err != nil {
		return r, err
	}
	r.members = r.read[slices.Index(all, r.newest)].Members
	return r, nil
}

// there are the IDs of the voters whose directories were read, and away of the others.
func (r recovery) there() (there, away []string) {
	for _, m := range r.members {
		switch {
		case !m.Voter:
		case slices.ContainsFunc(r.read, func(c raft.Checkup) bool { return c.Node == m.ID }):
			there = append(there, m.ID)
		default:
			away = append(away, m.ID)
		}
	}
	return there, away
}

// refuse says why no new group is needed.
func (r recovery) refuse(force bool) error {
	there, away := r.there()
	n := len(there) + len(away)
	if force || len(there) < n/2+1 {
		return nil
	}
	return fmt.Errorf("the directories of %s are whole, and of %d voters %d must be: start these nodes, and the group goes on by itself; or write --force to begin a new one all the same", strings.Join(there, ", "), n, n/2+1)
}

func (r recovery) text(to string) string {
	var text strings.Builder
	for _, c := range r.read {
		fmt.Fprintf(&text, "%s of node %s: last entry %d of term %d\n", c.Dir, c.Node, c.Last, c.LastTerm)
	}
	fmt.Fprintf(&text, "node %s knows most; %s holds %s\n", r.newest.Node, to, r.newest)
	if _, away := r.there(); len(away) > 0 {
		fmt.Fprintf(&text, "what may be lost: all that only %s knew, after entry %d; some of the last entries here may never have been acknowledged\n", strings.Join(away, ", "), r.newest.Last())
	}
	fmt.Fprintf(&text, "after a restore every token is greater than %d\n", r.newest.Above)
	fmt.Fprintf(&text, "next: move every data directory of the group away, start each node on an empty one by understudy raft-voter, and then: understudy raft restore %s\n", to)
	return text.String()
}
