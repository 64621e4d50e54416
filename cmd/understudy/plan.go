package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends/raft"
)

func newPlan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print the bounds of every kind of failure, for these settings, and why",
		Long: `Says before it is needed when the active stops at the latest and when a standby is
active at the earliest and latest. Refuses settings that do not fit each other.`,
		Example: `  understudy plan
  understudy plan --ttl 500ms -o json`,
		Args: cobra.NoArgs,
	}
	o := newOptions(cmd.Flags(), timeKeys, []string{
		"backend", "hangTimeout", "raft.timing", "consul.raftMultiplier", "raft.peers", "raft.caFile", "raft.certFile", "raft.keyFile",
	})
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table or json")
	o.collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := o.read(cmd)
		if o.ConsulRaftMultiplier < 1 || o.ConsulRaftMultiplier > 10 {
			err = errors.Join(err, fmt.Errorf("consul-raft-multiplier %d: must be from 1 to 10", o.ConsulRaftMultiplier))
		}
		if err := errors.Join(err, o.ForPlan(), o.Store.Raft.ValidateTiming()); err != nil {
			return err
		}
		rows := append(o.bounds(), o.group(cmd.Context())...)
		if o.output == "json" {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(rows)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "backend %s, ttl %v, skew %v, grace %v, stop timeout %v, a beat every %v, a try for %v\n\n", o.Store.Backend,
			o.Coordinator.TTL, o.Coordinator.Skew, o.Coordinator.Grace, o.Coordinator.StopTimeout, o.Coordinator.BeatEvery(), o.Coordinator.Try())
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.What, r.Bound, r.Why)
		}
		return w.Flush()
	}
	return cmd
}

// A bound is one line of plan.
type bound struct {
	What  string `json:"what"`
	Bound string `json:"bound"`
	Why   string `json:"why"`
}

func (o *options) bounds() []bound {
	c, st := o.Coordinator, o.store()
	silent := c.TTL + c.Skew
	most := silent + c.Try()
	own := ""
	if o.Store.Backend == "raft" { // the process that dies may lead the store
		most += 3 * o.Store.Raft.Timing
		own = ", after an election if it led the store"
	}
	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	late := ms(silent-c.BeatEvery()) + " to " + ms(most)
	rows := []bound{
		{"active: told to stop", "at " + ms(c.TTL-c.Skew-c.Grace), "after the start of its last acknowledged beat: ttl - skew - grace"},
		{"active: process exits", "at " + ms(c.TTL-c.Skew), "after the same, if its work still runs: ttl - skew"},
		{"clean stop", "the work's stop + commits", "the role is released when the work has returned (at most " + ms(c.StopTimeout) + "); the next takes it in two commits"},
		{"handoff", "the work's stop + commits", "as a clean stop, to a named standby"},
		{"crash", "tens of ms", "the witness ends the session when the kernel says that the process is dead, and freed its memory (75ms per GB); then two commits" + own},
		{"hang", "about " + ms(c.HangTimeout), "the witness kills a process that has not turned for hang-timeout; then as a crash"},
		{"crash, no witness", late, "ttl + skew since the last beat that was seen, which is up to ttl/4 old; then two commits" + own},
		{"hang, no witness", late, "as a crash: a process that is stopped does not beat; a command that works on is not stopped"},
		{"cut off", late, "as a crash; the old active has stopped " + ms(2*c.Skew) + " before, by its own clocks"},
		{"store's outage ridden out", ms(c.Outage()), "ttl - ttl/4 - one try - skew - grace: shorter ones change nothing"},
	}
	if st.election > 0 {
		rows = append(rows, bound{"store's election", "about " + ms(st.election), st.why + "; within what is ridden out: " + within(st.election, c.Outage(), st.cure)})
	}
	if c.HangTimeout < 0 {
		rows[5].Bound, rows[5].Why = late, "--hang-timeout 0: a process that is stopped does not beat; the witness kills it when its promise is over"
	}
	if o.Store.Backend == "etcd" || o.Store.Backend == "consul" { // for raft see group
		rows = append(rows, bound{"round trip to the store", "at most " + ms(c.Try()*9/10), "nine tenths of a try of " + ms(c.Try()) + " (ttl/8), with the store's commit: beyond it no beat is acknowledged; raise --ttl"})
	}
	if o.Store.Backend == "memory" {
		rows = slices.Delete(rows, 4, 6) // a store that dies with its process has no use for a witness
	}
	perDay := int(24 * time.Hour / c.BeatEvery())
	return append(rows, bound{"history per contender", fmt.Sprintf("%d %s a day", perDay, st.unit), "a beat every ttl/4; " + st.history})
}

// group are the lines about the group of Raft that is there already, where its peers are
// named.
func (o *options) group(ctx context.Context) []bound {
	c := o.Store.Raft
	if o.Store.Backend != "raft" {
		return nil
	}
	limit, why := raft.MaxTrip(c.Timing), "half of Raft's timing of "+c.Timing.String()+": beyond it elections fail; raise --raft-timing on every node"
	if most := o.Coordinator.Try() * 9 / 20; most < limit { // a beat goes to the leader, and from there to the others
		limit, why = most, "nine tenths of a try of "+o.Coordinator.Try().String()+", in which a beat takes two and a write to disk: beyond it no beat of one that follows Raft's leader is acknowledged; raise --ttl"
	}
	rows := []bound{{"round trip between peers", "at most " + limit.String(), why}}
	if len(c.Peers) == 0 {
		return rows
	}
	ctx, cancel := context.WithTimeout(ctx, max(2*time.Second, 4*o.Coordinator.Try())) // to connect takes trips, too
	defer cancel()
	g, err := raft.Inspect(ctx, c)
	if len(g.Voters) == 0 {
		return append(rows, bound{"voters", "unknown", fmt.Sprintf("the group does not answer: %v", err)})
	}
	if g.Trip > 0 {
		rows[0].Why = fmt.Sprintf("%s was measured; %s", g.Trip.Round(time.Microsecond), rows[0].Why)
	}
	if g.Trip > limit {
		rows[0].Bound += ": TOO FAR"
	}
	if why = g.Differs(c.Peers); why == "" {
		why = "as the list of peers says: " + strings.Join(g.Voters, ", ")
	}
	return append(rows, bound{"voters", fmt.Sprintf("%d of %d must live", g.Quorum(), len(g.Voters)), why})
}

// A store is what plan knows of a backend.
type store struct {
	election time.Duration // how long writes stall when its leader dies; 0: it has none
	why      string        // where that figure is from
	cure     string        // what else to change where that is too long
	unit     string        // of its history
	history  string        // what becomes of it
}

func (o *options) store() store {
	switch o.Store.Backend {
	case "raft":
		return store{
			o.Store.Raft.Timing * 23 / 10, "2.3 times the timing of " + o.Store.Raft.Timing.String() + ", measured at the median", "lower --raft-timing",
			"entries", "cut off after snapshots",
		}
	case "etcd":
		return store{
			1900 * time.Millisecond, "1.1s to 1.9s were measured at etcd's default election timeout of 1s", "lower etcd's --election-timeout",
			"revisions", "start etcd with --auto-compaction-retention=1h: it has none by itself, and at its quota (2 GB) every write fails",
		}
	case "consul":
		return store{
			time.Duration(o.ConsulRaftMultiplier) * 3400 * time.Millisecond,
			fmt.Sprintf("3.4s times Consul's raft_multiplier of %d, measured; --consul-raft-multiplier says yours", o.ConsulRaftMultiplier),
			"set performance.raft_multiplier = 1 on the servers",
			"entries", "cut off by Consul's own snapshots",
		}
	}
	return store{unit: "changes", history: "kept nowhere"}
}

func within(election, outage time.Duration, cure string) string {
	if election < outage {
		return "yes"
	}
	return "NO: the active stops when the store's leader dies; raise --ttl, or " + cure
}
