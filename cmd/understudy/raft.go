package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
snapshots. These names stay.

Exit codes:
  0   it is whole, or empty
  1   it is damaged
  64  it cannot be read, as where a node runs on it`,
		Example: `  understudy raft check /var/lib/a
  understudy raft check -o json /var/lib/a | jq .last`,
		Args: cli.OneArg("DIR, the data directory"),
	}
	output := cli.Output(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := raft.Check(args[0])
		if err != nil {
			return err
		}
		return errors.Join(show(cmd.OutOrStdout(), *output, c, func(w io.Writer) { showCheckup(w, c) }), well(c.Damage == ""))
	}
	return cmd
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
	fmt.Fprintf(w, "directory %s of node %s, group %s\n", c.Dir, named(c.Node), named(c.Group))
	fmt.Fprintf(w, "  started %d times, raft.db written %d times, %d bytes\n", c.Starts, c.Writes, c.Size)
	fmt.Fprintf(w, "  term %d, last voted in term %d\n", c.Term, c.Voted)
	fmt.Fprintf(w, "  last entry %d of term %d, the log begins at %d\n", c.Last, c.LastTerm, c.First)
	var members []string
	for _, m := range c.Members {
		members = append(members, m.ID+"="+m.Address)
	}
	fmt.Fprintf(w, "  members %s\n", named(strings.Join(members, ",")))
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

// named is a name, or that it is not known.
func named(name string) string {
	if name == "" {
		return "unknown"
	}
	return name
}
