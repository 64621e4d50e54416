package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
)

func newRaft() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "raft",
		Short: "Look after a group of embedded Raft: its members, certificates, backups and data directories",
		Example: `  understudy raft status --raft-peers a=h1:7001,b=h2:7001,c=h3:7001
  understudy raft check /var/lib/a`,
	}
	cmd.AddCommand(newRaftStatus(), newRaftMember(), newRaftCerts(), newRaftCheck(), newRaftBackup(), newRaftRestore(), newRaftRecover())
	return cmd
}

func newRaftCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Say what a data directory holds, what is damaged there, and what to do",
		Long: `Reads the data directory of a node that does not run, and changes nothing there. A node
checks the same before it starts, and refuses what is damaged. That a directory is an older
copy of itself only the node's peers know, which are asked at its start.

JSON is one document: dir, empty, damage and cure (where it is damaged), node, directory and
group (their names), members, starts, writes, size, term, voted, first, last, lastTerm and
snapshots. What there is none of, or what cannot be read, is left out. These names stay.
` + cli.Codes{0: "it is whole, or empty", cli.NotDone: "it is damaged", unread: "it cannot be read, as where a node runs on it"}.String(),
		Example: `  understudy raft check /var/lib/a
  understudy raft check -o json /var/lib/a | jq .last`,
		Args: cli.OneArg("DIR, the data directory"),
	}
	output := cli.Output(cmd.Flags())
	cli.Once(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := isThere(args[0]); err != nil {
			return err
		}
		c, err := raft.Check(args[0])
		if err != nil {
			return cli.Exit(unread, err)
		}
		return errors.Join(show(cmd.OutOrStdout(), *output, c, func(w io.Writer) { showCheckup(w, c) }), well(c.Damage == ""))
	}
	return cmd
}

// unread is raft check's exit code where a data directory cannot be read.
const unread = 2

// isThere refuses a path that the command line names and that is not there.
func isThere(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return cli.Mistake(fmt.Errorf("%q: there is no such file or directory", path))
	}
	return nil
}

// well tells by the exit code alone whether what was shown is well.
func well(ok bool) error {
	if ok {
		return nil
	}
	return cli.Exit(cli.NotDone, nil)
}

// show writes a document as JSON, or as text does.
func show(w io.Writer, output string, document any, text func(io.Writer)) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(document)
	}
	var page strings.Builder
	text(&page)
	_, err := io.WriteString(w, page.String())
	return err
}

func showCheckup(w io.Writer, c raft.Checkup) {
	if c.Empty {
		fmt.Fprintf(w, "directory %s holds nothing of a node: one that starts on it is a new one\n", c.Dir)
		return
	}
	fmt.Fprint(w, "directory ", c.Dir)
	known(w, " of node %s", c.Node)
	known(w, ", group %s", c.Group)
	known(w, "\n  starts: %d", c.Starts)
	known(w, "\n  writes of raft.db: %d", c.Writes)
	known(w, "\n  raft.db has %d bytes", c.Size)
	known(w, "\n  term %d", c.Term)
	known(w, "\n  last voted in term %d", c.Voted)
	known(w, "\n  the log begins at entry %d", c.First)
	known(w, "\n  last entry %d", c.Last)
	known(w, " of term %d", c.LastTerm)
	var members []string
	for _, m := range c.Members {
		members = append(members, m.ID+"="+m.Address)
	}
	known(w, "\n  members %s", strings.Join(members, ","))
	fmt.Fprintln(w)
	for _, s := range c.Snapshots {
		fmt.Fprintf(w, "  snapshot %s up to entry %d, %d bytes", s.ID, s.Index, s.Size)
		if s.Damage != "" {
			fmt.Fprintf(w, ", cannot be read: %s", s.Damage)
		}
		fmt.Fprintln(w)
	}
	if c.Damage == "" {
		fmt.Fprintln(w, "it is whole; whether it is the latest its peers know, which are asked when the node starts")
		return
	}
	fmt.Fprintln(w, "DAMAGED: "+c.Damage)
	if c.Cure != "" {
		fmt.Fprintln(w, "what to do: "+c.Cure)
	}
}

// known says a fact, unless there is none or it is not known.
func known[T comparable](w io.Writer, format string, fact T) {
	if fact != *new(T) {
		fmt.Fprintf(w, format, fact)
	}
}
