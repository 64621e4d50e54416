package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
	o := newOptions(cmd.Flags())
	o.timeFlags()
	o.duration(&o.raft.Timing, "raft-timing", 0, "Raft's heartbeat timeout (default ttl/10, within 50ms and 1s)")
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table or json")
	o.collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		finished := o.finish()
		o.config = o.config.Defaults()
		if o.raft.Timing == 0 {
			o.raft.Timing = raft.TimingFor(o.config.TTL)
		}
		if err := errors.Join(finished, o.config.ValidateTimes(), o.raft.ValidateTiming()); err != nil {
			return err
		}
		rows := o.bounds()
		if o.output == "json" {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(rows)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "backend %s, ttl %v, skew %v, grace %v, stop timeout %v, a beat every %v, a try for %v\n\n", o.backend,
			o.config.TTL, o.config.Skew, o.config.Grace, o.config.StopTimeout, o.config.BeatEvery(), o.config.Try())
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
	c := o.config
	timing := o.raft.Timing
	election := time.Duration(0)
	if o.backend == "raft" {
		election = 3 * timing
	}
	silent := c.TTL + c.Skew
	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	rows := []bound{
		{"active: told to stop", "at " + ms(c.TTL-c.Skew-c.Grace), "after the start of its last acknowledged beat: ttl - skew - grace"},
		{"active: process exits", "at " + ms(c.TTL-c.Skew), "after the same, if its work still runs: ttl - skew"},
		{"clean stop", "the work's stop + commits", "the role is released when the work has returned (at most " + ms(c.StopTimeout) + "); the next takes it in two commits"},
		{"handoff", "the work's stop + commits", "as a clean stop, to a named standby"},
		{"crash, no witness", ms(silent-c.BeatEvery()) + " to " + ms(silent+election+c.Try()), "ttl + skew since the last beat that was seen, which is up to ttl/4 old; then two commits, after an election if it led the store"},
		{"hang", ms(silent-c.BeatEvery()) + " to " + ms(silent+election+c.Try()), "as a crash: a process that is stopped does not beat"},
		{"cut off", ms(silent-c.BeatEvery()) + " to " + ms(silent+election+c.Try()), "as a crash; the old active has stopped " + ms(2*c.Skew) + " before, by its own clocks"},
		{"store's outage ridden out", ms(c.Outage()), "ttl - ttl/4 - one try - skew - grace: shorter ones change nothing"},
	}
	if o.backend == "raft" {
		rows = append(rows, bound{"Raft election", "about " + ms(timing*23/10), "2.3 times the timing of " + ms(timing) + " (measured at the median); within what is ridden out: " + yes(timing*23/10 < c.Outage())})
		perDay := int(24 * time.Hour / c.BeatEvery())
		rows = append(rows, bound{"log per contender", fmt.Sprintf("%d entries a day", perDay), "a beat every ttl/4; truncated after snapshots"})
	}
	return rows
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO: the active stops when the store's leader dies; raise ttl or lower raft-timing"
}
