package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
)

func newPlan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print the time that each kind of failure takes with these settings, and why",
		Long: `Says in advance when the active stops at the latest, and when a standby is active at the
earliest and at the latest. Refuses settings that do not fit each other.

JSON: what, bound, why; and min and max, the bound in seconds, if it has them. These names
are stable.
` + cli.Codes{0: "these settings fit each other"}.String(),
		Example: `  understudy plan
  understudy plan --ttl 500ms -o json`,
		Args: cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.PlanKeys(), cli.TimeKeys, []string{"hangTimeout", "fence", "warm"})
	output := cli.Output(cmd.Flags())
	o.Collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := o.Read(cmd)
		if err := errors.Join(err, o.ForPlan()); err != nil {
			return err
		}
		rows := o.bounds(o.Store.Row().Facts(cmd.Context(), o.Store, o.Coordinator.Try()))
		if *output == "json" {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(rows)
		}
		head := fmt.Sprintf("backend %s, ttl %v, skew %v, grace %v, stop timeout %v, a beat every %v, a try for %v", o.Store.Backend,
			o.Coordinator.TTL, o.Coordinator.Skew, o.Coordinator.Grace, o.Coordinator.StopTimeout, o.Coordinator.BeatEvery(), o.Coordinator.Try())
		_, err = io.WriteString(cmd.OutOrStdout(), planPage(head, rows, cli.Columns(cmd.OutOrStdout())))
		return err
	}
	return cmd
}

// The columns of plan's lines: at most mostWide, and in a narrower terminal its own, but no fewer than leastWide.
const (
	mostWide  = 100
	leastWide = 60
)

// planPage is what plan prints for people in so many columns, 0 if that is not known: each bound beside what it is
// about, and the reason below it.
func planPage(head string, rows []bound, columns int) string {
	width := mostWide
	if columns > 0 {
		width = min(mostWide, max(leastWide, columns))
	}
	side := 0
	for _, r := range rows {
		side = max(side, len(r.What)+2)
	}
	page := strings.Join(fold(head, width), "\n") + "\n\n"
	for _, r := range rows {
		for i, line := range slices.Concat(fold(r.Bound, width-side), fold(r.Why, width-side)) {
			what := ""
			if i == 0 {
				what = r.What
			}
			page += fmt.Sprintf("%-*s%s\n", side, what, line)
		}
	}
	return page
}

// fold breaks a text into lines of at most width columns. A longer word has a line of its own.
func fold(text string, width int) (lines []string) {
	for _, word := range strings.Fields(text) {
		if last := len(lines) - 1; last >= 0 && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(word) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// A bound is one line of plan. Its names are stable.
type bound struct {
	What  string   `json:"what"`
	Bound string   `json:"bound"`
	Min   *float64 `json:"min,omitempty"` // nil: it has none
	Max   *float64 `json:"max,omitempty"`
	Unit  string   `json:"unit,omitempty"` // of these; "": seconds
	Why   string   `json:"why"`
}

// with sets the numbers of a bound; a negative one: none.
func (b bound) with(least, most time.Duration) bound {
	for _, one := range []struct {
		to **float64
		d  time.Duration
	}{{&b.Min, least}, {&b.Max, most}} {
		if one.d >= 0 {
			*one.to = new(float64(one.d.Microseconds()) / 1e6) // the nearest decimal, unlike Seconds
		}
	}
	return b
}

// about is a bound that is one number.
func about(what, word string, d time.Duration, why string) bound {
	return bound{What: what, Bound: word + d.Round(time.Millisecond).String(), Why: why}.with(d, d)
}

// atMost is a bound without a least number.
func atMost(what, word string, d time.Duration, why string) bound {
	return bound{What: what, Bound: word + d.String(), Why: why}.with(-1, d)
}

// hangs is the bound of a process that makes no step. It does not beat either, and the witness does not leave it alive
// beyond its promise: so a longer hang-timeout is for health checks alone, which may hang while the process beats.
func hangs(c coordinator.Config) bound {
	most := c.TTL - c.Skew
	least := most - c.BeatEvery()
	if c.HangTimeout <= least {
		return about("hang", "about ", c.HangTimeout, "the witness kills a process that was stopped, or makes no step, for hang-timeout; then as a crash")
	}
	most = min(most, c.HangTimeout)
	return bound{
		What: "hang", Bound: fmt.Sprintf("%v to %v", least.Round(time.Millisecond), most.Round(time.Millisecond)),
		Why: fmt.Sprintf("a process that is stopped or makes no step does not beat: the witness kills it when its promise is over, also before hang-timeout, and then as a crash; a health check that hangs has all of hang-timeout, %v", c.HangTimeout),
	}.with(least, most)
}

func (o *options) bounds(f backends.Facts) []bound {
	c := o.Coordinator
	silent := c.TTL + c.Skew
	most := silent + c.Try() + f.Takeover
	own := ""
	if f.Takeover > 0 { // the process that dies may lead the store
		own = ", after an election if it led the store"
	}
	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	late := func(what, why string) bound {
		least := silent - c.BeatEvery()
		return bound{What: what, Bound: ms(least) + " to " + ms(most), Why: why}.with(least, most)
	}
	rows := []bound{
		about("active: told to stop", "at ", c.TTL-c.Skew-c.Grace, "after the start of its last acknowledged beat: ttl - skew - grace"),
		about("active: process exits", "at ", c.TTL-c.Skew, "after the same, if its work still runs: ttl - skew"),
		{What: "clean stop", Bound: "the work's stop + commits", Why: "the role is released when the work has returned (at most " + ms(c.StopTimeout) + "); the next takes it in two commits"},
		{What: "handoff", Bound: "the work's stop + commits", Why: "as a clean stop, to a named standby" + o.warmHandoff()},
		{What: "crash", Bound: "tens of ms", Why: "the witness ends the session when the kernel says that the process is dead, and freed its memory (75ms per GB); then two commits" + own},
		hangs(c),
		late("crash, no witness", "ttl + skew since the last beat that was seen, which is up to ttl/4 old; then two commits"+own),
		late("hang, no witness", "as a crash: a process that is stopped does not beat; a command that works on is not stopped"),
		late("cut off", "as a crash; the old active has stopped "+ms(2*c.Skew)+" before, by its own clocks"),
		atMost("store's outage ridden out", "", c.Outage().Round(time.Millisecond), "ttl - ttl/4 - one try - skew - grace: shorter ones change nothing"),
	}
	if o.Run.Fence != "" {
		least := c.TTL/8*5 - c.BeatEvery()
		rows = append(rows, bound{
			What: "lost host, with --fence", Bound: ms(least) + " to " + ms(most),
			Why: "--fence runs when no beat was seen for 5/8 of the ttl, the last one being up to ttl/4 old; add what it takes. If it fails, or takes longer than the promise: as a crash without a witness",
		}.with(least, most))
	}
	if o.warm() != "off" {
		rows = append(rows, bound{
			What: "command's start, with --warm", Bound: "in none of these",
			Why: "it runs in standby, too, at the price of its memory and processor time on every host; where no standby has said READY=1, add what is left of its start",
		})
	}
	if f.Election > 0 {
		rows = append(rows, about("store's election", "about ", f.Election, f.Source+"; within what is ridden out: "+within(f.Election, c.Outage(), f.Cure)))
	}
	if c.HangTimeout < 0 {
		rows[5] = late("hang", "--hang-timeout 0: a process that is stopped does not beat; the witness kills it when its promise is over")
	}
	if o.Store.Row().Alone(o.Store) != "" {
		rows = slices.Delete(rows, 4, 6) // a witness is useless if the store dies with its process
	}
	perDay := func(every time.Duration) *float64 { return new(float64(24 * time.Hour / every)) }
	fewest, mostWrites := perDay(c.IdleEvery()), perDay(c.BeatEvery())
	rows = append(rows, bound{
		What: "history per contender", Bound: fmt.Sprintf("%.0f to %.0f %s a day", *fewest, *mostWrites, f.Unit), Min: fewest, Max: mostWrites, Unit: "per day",
		Why: "a beat every 7/8 ttl on standby, every ttl/4 while active; " + f.History,
	})
	if f.Rights != "" {
		rows = append(rows, bound{What: "least rights", Bound: f.Rights, Why: "of the user or token; nothing else is needed"})
	}
	for _, more := range f.More {
		row := bound{What: more.What, Bound: more.Bound, Why: more.Why}
		if more.Most > 0 {
			row = row.with(-1, more.Most)
		}
		rows = append(rows, row)
	}
	return rows
}

// warm is how the command is kept warm, or the first of several that is; "off": none is.
func (o *options) warm() string {
	for _, r := range o.Roles {
		if r.Warm != "off" {
			return r.Warm
		}
	}
	return "off"
}

// warmHandoff is what a handoff of a warm command's role waits for.
func (o *options) warmHandoff() string {
	ends, ok := map[string]string{"idle": "its IDLE=TOKEN", "restart": "its end"}[o.warm()]
	if !ok {
		return ""
	}
	return fmt.Sprintf(", which must be ready, so that its command is told to work and is not started; the old command's stop is %s, at most %v", ends, o.Coordinator.StopTimeout)
}

func within(election, outage time.Duration, cure string) string {
	if election < outage {
		return "yes"
	}
	return "NO: the active stops when the store's leader dies; raise --ttl, or " + cure
}
