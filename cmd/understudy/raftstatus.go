package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newRaftStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the members of a group: who leads, who is behind, and what one failure would mean",
		Long: `Asks every peer of --raft-peers and every member of the group that is not in it, from any
machine; needs no data directory. Who is active in a role says understudy status.

The first line says how many more voters may fail. A line for each member has its state, how many
entries it is behind the leader, the age of its last snapshot, how much its data directory has and its
disk has free, and when the first of its certificates ends. Where the group differs from the list, where
a member does not answer, and where one cannot be relied on, as its disk is full, a line says so and why.

JSON is one document: group, leader, quorum, margin (how many more voters may fail), health (the same
in words), differs (how the group differs from --raft-peers), and members, each with id, address,
voter, silent (why it did not answer), fails (why it cannot be relied on), behind (null: unknown, as
where nobody leads), and node (null: it did not answer) with state, leader, members, term, last, applied,
snapshot, snapshotAt, used, free (null: unknown), refused, disk, observes, deadAfter and silentFor
(in ns) and certificates (their ends by file).
These names stay.
` + cli.Codes{0: "somebody leads, and a majority answers", cli.NotDone: "nobody leads, or no majority answers", cli.Unavailable: "nobody answers"}.String(),
		Example: `  understudy raft status --raft-peers a=h1:7001,b=h2:7001,c=h3:7001
  understudy raft status -o json | jq .margin`,
		Args: cli.NoArgs,
	}
	return asksGroup(cmd, func(r groupReport, w io.Writer, output string) error {
		err := show(w, output, r, func(w io.Writer) { r.write(w, time.Now()) })
		return errors.Join(err, well(r.Leader != "" && r.Margin >= 0))
	})
}

// asksGroup has a command ask how the group is, and report tell it.
func asksGroup(cmd *cobra.Command, report func(r groupReport, w io.Writer, output string) error) *cobra.Command {
	o := newOptions(cmd.Flags(), cli.StoreKeys())
	o.Duration(&o.Timeout, "timeout", 5*time.Second, "for the answers")
	output := cli.Output(cmd.Flags())
	o.Collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return o.onRaft(cmd, func(ctx context.Context) error {
			g, err := raft.Status(ctx, o.Store.Raft)
			if err != nil {
				return cli.Unreachable(err)
			}
			return report(newGroupReport(g, o.Store.Raft.Peers), cmd.OutOrStdout(), *output)
		})
	}
	return cmd
}

// readRaft reads the settings of a command that asks a group of embedded Raft.
func (o *options) readRaft(cmd *cobra.Command) error {
	err := o.Read(cmd)
	if !o.Store.Row().Inside {
		return errors.Join(err, o.Explain(lock.InFields(fmt.Errorf("%q has no group of embedded Raft; give raft", o.Store.Backend), "backend")))
	}
	return errors.Join(err, o.ForClient())
}

// A groupReport is what raft status prints as JSON. Its names are stable.
type groupReport struct {
	raft.GroupStatus
	Quorum  int    `json:"quorum"`
	Margin  int    `json:"margin"`
	Health  string `json:"health"`
	Differs string `json:"differs,omitempty"`
}

func newGroupReport(g raft.GroupStatus, peers []raft.Peer) groupReport {
	voters, silent, failing := g.Voters()
	h := backends.Health{Members: voters, Leader: g.Leader, Silent: silent, Barred: g.Barred(), Failing: failing}
	margin, _ := h.Margin()
	return groupReport{g, h.Quorum(), margin, cmp.Or(g.Lost(), h.String()), (raft.Group{Voters: voters}).Differs(peers)}
}

func (r groupReport) write(w io.Writer, now time.Time) {
	fmt.Fprintf(w, "group %s: %s\n", cmp.Or(r.Group, "without a name yet"), r.Health)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MEMBER\tADDRESS\tSTATE\tTERM\tLAST\tBEHIND\tSNAPSHOT\tUSED\tFREE\tCERTIFICATE UNTIL")
	var more []string
	for _, m := range r.Members {
		if m.Node == nil {
			fmt.Fprintf(table, "%s\t%s\tsilent%s\n", m.ID, m.Address, strings.Repeat("\t-", 7)) // a row that ends early would part the table in two
			more = append(more, m.ID+" is silent: "+m.Silent)
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", m.ID, m.Address, strings.Join(columns(m, now), "\t"))
		if m.Fails != "" {
			more = append(more, m.ID+" fails: "+m.Fails)
		}
		for _, id := range slices.Sorted(maps.Keys(m.Node.SilentFor)) {
			more = append(more, fmt.Sprintf("%s is taken out after %v of silence, of which %v are over, while the rest is a living majority", id, m.Node.DeadAfter, m.Node.SilentFor[id].Round(time.Second)))
		}
	}
	_ = table.Flush() // into a string
	if r.Differs != "" {
		more = append(more, r.Differs)
	}
	for _, line := range more {
		fmt.Fprintln(w, line)
	}
}

// columns are what a member says of itself, from its state on. One that is starting does not know
// where it is yet, and how far it is behind is known where somebody leads.
func columns(m raft.MemberStatus, now time.Time) []string {
	n, state, snapshot, until := m.Node, m.Node.State, "none", "none"
	term, last, behind, left := fmt.Sprint(n.Term), fmt.Sprint(n.Last), unsaid, unsaid
	if !m.Voter {
		state += ", learns"
	}
	if n.Term == 0 {
		term, last, snapshot = unsaid, unsaid, unsaid
	}
	if m.Behind != nil {
		behind = fmt.Sprint(*m.Behind)
	}
	if n.Free != nil {
		left = size(int64(*n.Free))
	}
	if n.Snapshot > 0 {
		snapshot = fmt.Sprintf("to %d, %s ago", n.Snapshot, short(now.Sub(n.SnapshotAt)))
	}
	if end, ok := n.Certificates.First(); ok {
		until = end.UTC().Format(time.DateOnly)
	}
	return []string{state, term, last, behind, snapshot, size(n.Used), left, until}
}

const unsaid = "unknown"

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d kB", n>>10)
}
