package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

func newWhy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why",
		Short: "Explain where a role is: its last move, or why nobody is active",
		Long: `Explains the last move of a role from what the store has: who had it, who has it now, why it
moved, how long each part took, and what would have been faster. If nobody is active it explains
why nobody takes over. A move is written ttl/4 after it: one that was just made is waited for, for up
to 3s. Without --role it explains the roles in the file that --config names, or
else every role in the store.

A time is by the clock of the contender that recorded it. An active that fell silent without a
witness was lost or cut off. Nobody can tell which, unless it says so itself later.

JSON is one document: roles, each with role, active (empty: nobody), token, from, previous, cause
(a word; see docs/why.md), without (seconds for which nobody was active, as far as is known), atMost
(true: it may have been less), atLeast (true: it may have been more), outage (seconds of the store's last outage, if nothing moved), text, steps (each with at, by, text) and faster.
These names are stable.
` + cli.Codes{0: "it is explained", cli.NotDone: "nobody has taken part in the role", cli.Unavailable: ""}.String(),
		Example: `  understudy why --role billing
  understudy why --role billing -o json | jq -r .roles[0].cause`,
		Args: cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys(), []string{"role"})
	o.Duration(&o.Timeout, "timeout", 10*time.Second, "how long to wait for an answer")
	output := cli.Output(cmd.Flags())
	o.Collect()
	o.Judge = func() error {
		if o.Role() == "" {
			return nil
		}
		return o.CheckName("role", o.Role())
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return o.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			all, err := stories(ctx, l, o.asked()...)
			if err != nil {
				return err
			}
			o.tellStore(ctx, all)
			return showStories(cmd.OutOrStdout(), *output, all)
		})
	}
	return cmd
}

// tellStore tells it anew where what the store's servers say changes it: nobody is active and no write can be made, or
// embedded Raft cannot do without the node of an active that has no witness.
func (o *options) tellStore(ctx context.Context, all []story) {
	row := o.Store.Row()
	if !slices.ContainsFunc(all, func(s story) bool { return s.Active == "" || row.Inside && !s.of.Term.Holder.Witness }) {
		return
	}
	found := o.askServers(ctx)(ctx)
	for i, s := range all {
		all[i] = s.with(found, row)
	}
}

// with is the story where the store's servers are known to be so.
func (s story) with(found inspection, of backends.Store) story {
	m := *s.of
	if why := found.unwritable(); s.Active != "" {
		m.needed = of.Inside && needs(found.Health, s.Active)
	} else if why != "" {
		m.unwritable = fmt.Sprintf("the store %s: %s", of.Name, why)
	}
	return told(m)
}

// unwritable is why the store takes no write, as far as its servers say; "": nothing is known of it.
func (i inspection) unwritable() string {
	if n, known := i.Margin(); known && n < 0 {
		return i.String()
	}
	return i.Refuses
}

// stories are those of the named roles, or of all that there are.
func stories(ctx context.Context, l lock.Locker, roles ...string) (all []story, err error) {
	found, err := standings(ctx, l, roles...)
	if len(found) == 0 && err != nil {
		return nil, cli.Unreachable(err)
	}
	limit := time.Now().Add(untoldFor)
	for _, st := range listen(ctx, l, found) {
		if text := unknown(ctx, l, st.Standing); text != "" && len(roles) > 0 {
			return nil, cli.Exit(cli.NotDone, errors.New(text))
		}
		st, events, err := lastMove(ctx, l, st, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, storyOf(st, events))
	}
	if len(all) == 0 {
		return nil, cli.Exit(cli.NotDone, errors.New("nobody has taken part in any role here: start a contender, or look at another store or prefix"))
	}
	return all, err
}

// untoldFor is how long why waits for the event of a move that was just made. At the default ttl it comes after 2.5s.
const untoldFor = 3 * time.Second

// lastMove is a role's standing and its history, both of the last move: one that was made between the two reads,
// or that its owner has not written yet, is waited for until limit.
func lastMove(ctx context.Context, l lock.Locker, st heard, limit time.Time) (heard, []lock.Event, error) {
	for {
		events, err := eventsOf(ctx, l, st.Role)
		if err != nil || st.toldBy(events) {
			return st, events, err
		}
		cli.Pause(ctx)
		if ctx.Err() != nil || time.Now().After(limit) {
			return st, events, nil
		}
		now, err := standings(ctx, l, st.Role)
		if err != nil {
			return st, nil, cli.Unreachable(err)
		}
		st = listen(ctx, l, now)[0]
	}
}

// toldBy reports whether the events have the role's last move, or never will: one that could not be written is
// dropped. Who gave the role back or handed it over writes why with its next beat, which may come after the new active's.
func (h heard) toldBy(events []lock.Event) bool {
	t := h.Term
	ended := func(token lock.Token) bool {
		return slices.ContainsFunc(events, func(e lock.Event) bool { return e.Kind == lock.Ended && e.Token == token })
	}
	given := func(cause string) bool { return cause == lock.CauseReleased || cause == lock.CauseAsked }
	var began *lock.Event
	for i, e := range events {
		switch {
		case e.Token > t.Token:
			return false
		case e.Kind == lock.Began && e.Token == t.Token:
			began = &events[i]
		}
	}
	if t.Vacant() {
		cause, _ := history.CauseOf(t)
		return !given(cause) || ended(t.Token)
	}
	if h.silent != "" || h.at.Sub(t.Since).Abs() > t.Holder.TTL {
		return true
	}
	return began != nil && (!given(began.Cause) || ended(began.Previous))
}

// A story is why's answer about a role. Its names are stable.
type story struct {
	Role     string     `json:"role"`
	Active   string     `json:"active"`
	Token    lock.Token `json:"token"` // of the last term
	From     string     `json:"from,omitempty"`
	Previous lock.Token `json:"previous,omitempty"`
	Cause    string     `json:"cause,omitempty"`
	Without  float64    `json:"without,omitempty"`
	AtMost   bool       `json:"atMost,omitempty"`  // Without may be too long
	AtLeast  bool       `json:"atLeast,omitempty"` // Without may be too short
	Outage   float64    `json:"outage,omitempty"`
	Text     string     `json:"text"` // the answer in a sentence or two
	Steps    []step     `json:"steps"`
	Faster   []string   `json:"faster"`

	of *move // what it is about
}

// A step is one line of the timeline.
type step struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Text string    `json:"text"`
}

// storyOf is the story of a role.
func storyOf(st heard, events []lock.Event) story {
	m := move{heard: st}
	for i, e := range events {
		switch {
		case e.Kind == lock.Began && e.Token == st.Term.Token:
			m.began = &events[i]
		case e.Kind == lock.Ended && e.Token == st.Term.Token:
			m.last = &events[i]
		case e.Kind == lock.Outage && e.Token == st.Term.Token:
			m.outage = &events[i]
		}
	}
	for i, e := range events {
		if m.began != nil && e.Kind == lock.Ended && e.Token == m.began.Previous {
			m.ended = &events[i]
		}
	}
	return told(m)
}

// told is the story of a move. Where nobody is active and the store takes no write, that is why, and who lives cannot beat.
func told(m move) story {
	s := story{Role: m.Role, Token: m.Term.Token, Steps: []step{}, Faster: []string{}, of: &m}
	if !m.Term.Vacant() && m.silent == "" {
		s.Active = m.Term.Holder.ID
		m.tellMove(&s)
		return s
	}
	m.tellNobody(&s)
	return s
}

// tellMove says how the active got its role.
func (m *move) tellMove(s *story) {
	if m.began == nil {
		s.Text = fmt.Sprintf("%s is active with token %d since %s. It has not written why yet: that comes within ttl/4 (%s). Ask again then.",
			s.Active, s.Token, m.Term.Since.Local().Format(stamp), m.Term.Holder.TTL/4)
		return
	}
	b := m.began
	s.From, s.Previous = b.From, b.Previous
	cause, detail := causeOf(b, m.ended)
	s.Cause = cause
	switch {
	case cause == lock.CauseFirst:
		s.Text = fmt.Sprintf("%s is active with token %d: it is the first ever.", s.Active, s.Token)
	case b.From == b.By:
		s.Text = fmt.Sprintf("%s is active again, with token %d. Its term with token %d ended: %s.", s.Active, s.Token, s.Previous, sentence(cause, detail))
	default:
		s.Text = fmt.Sprintf("%s is active with token %d. It took over from %s, token %d: %s.", s.Active, s.Token, b.From, s.Previous, sentence(cause, detail))
	}
	events := []lock.Event{*b}
	if m.ended != nil {
		events = append(events, *m.ended)
	}
	for _, e := range history.Sorted(events) {
		s.Steps = append(s.Steps, step{e.At, e.By, eventText(e)})
	}
	if cause != lock.CauseFirst {
		without, bound := m.without()
		s.Without, s.AtMost, s.AtLeast = without.Seconds(), bound == noMore, bound == noLess
	}
	switch away := took(b, lock.PartOutage); {
	case cause == lock.CauseSilent && m.storeAway():
		s.Text += fmt.Sprintf(" The store had not answered %s for %s either, so it may have been the store that was away.", s.Active, short(away))
	case m.unseen():
		s.Text += fmt.Sprintf(" The store had not answered %s for %s until then, so %s may have died at any time in it.", s.Active, short(away), b.From)
	case b.Cause == lock.CauseEvicted && m.ended == nil:
		s.Text += fmt.Sprintf(" When the work of %s ended is not known.", b.From)
	case b.Cause == lock.CauseEvicted && m.dated() < 0:
		s.Text += fmt.Sprintf(" It lived, and both were at work for %s, by their clocks.", short(-m.dated()))
	}
	if m.outage != nil {
		took := m.outage.Parts[0].Took
		s.Outage = took.Seconds()
		s.Steps = append(s.Steps, step{m.outage.At, m.outage.By, fmt.Sprintf("the store answered again after %s without an answer: %s", short(took), m.outage.Detail)})
		s.Text = fmt.Sprintf("Nothing moved: the store did not answer %s for %s, until %s (its clock), which is less than its promise lasts. Before that: %s",
			s.Active, short(took), m.outage.At.Local().Format(stamp), s.Text)
	}
	if !m.Pause.IsZero() {
		s.Text += " " + m.whyNobody()
	}
	m.hint(s, cause)
}

// tellNobody says how the last term ended, and why nobody takes over.
func (m *move) tellNobody(s *story) {
	t, refuses := m.Term, m.unwritable != ""
	if refuses {
		s.Text = fmt.Sprintf("Nobody can beat or take over: %s. ", m.unwritable)
	}
	if t.Token == 0 {
		s.Text += fmt.Sprintf("Nobody was ever active in %s. %s", s.Role, m.whyNobody())
		s.Text = strings.TrimSpace(s.Text)
		return
	}
	s.From, s.Previous = t.Holder.ID, t.Token
	switch {
	case m.silent != "":
		s.Cause = lock.CauseSilent
		s.Text += m.silentText()
	default:
		cause, detail := history.CauseOf(t)
		if m.last != nil && cause == lock.CauseReleased {
			cause, detail = m.last.Cause, m.last.Detail
		}
		s.Cause = cause
		s.Text += fmt.Sprintf("Nobody is active. %s was the last, with token %d: %s.", t.Holder.ID, t.Token, sentence(cause, detail))
	}
	if f := m.Fence; !f.IsZero() && !refuses {
		s.Text += fmt.Sprintf(" %s has set out to fence its host, and the role is free as soon as its fence command succeeds, or the promise is over. Whether it has failed only its log says.", f.By)
	}
	s.Text = strings.TrimSpace(s.Text + " " + m.whyNobody())
	if m.began != nil {
		s.Steps = append(s.Steps, step{m.began.At, m.began.By, beginningText(*m.began)})
	}
	if m.last != nil {
		s.Steps = append(s.Steps, step{m.last.At, m.last.By, endingText(*m.last)})
	}
	if m.silent != "" && !t.Holder.Witness && !refuses {
		s.Faster = append(s.Faster, noWitness(t.Holder.ID))
	}
}

// silentText says of a silent active what is known of it. Where the store takes no write it is silent for that reason.
func (m *move) silentText() string {
	t := m.Term
	text := fmt.Sprintf("%s has the role with token %d, and is silent (%s)", t.Holder.ID, t.Token, m.silent)
	promise := t.Holder.TTL + t.Holder.Skew
	switch {
	case m.unwritable != "":
		return text + ": whether it lives is not known while it cannot beat."
	case t.Holder.Beat != lock.Absent && m.at.Sub(t.Holder.BeatAt) > promise:
		return fmt.Sprintf("%s: lost or cut off, which cannot be told apart. Its promise is over, %s after that beat, by its clock.", text, promise)
	}
	return fmt.Sprintf("%s: lost or cut off, which cannot be told apart. Nobody may take over before its promise is over, within %s of its last beat.", text, promise)
}

func showStories(out io.Writer, format string, all []story) error {
	if format == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Roles []story `json:"roles"`
		}{all})
	}
	var text strings.Builder // written at once, so that a failure is noticed
	for i, s := range all {
		if i > 0 {
			fmt.Fprintln(&text)
		}
		fmt.Fprintf(&text, "%s: %s\n", s.Role, s.Text)
		for _, one := range s.Steps {
			fmt.Fprintf(&text, "  %s  %s: %s\n", one.At.Local().Format(stamp), one.By, one.Text)
		}
		if s.Without > 0 {
			bound := ""
			switch {
			case s.AtMost:
				bound = noMore
			case s.AtLeast:
				bound = noLess
			}
			fmt.Fprintf(&text, "Nobody was active for %s%s, as far as is known.\n", bound, short(time.Duration(s.Without*float64(time.Second))))
		}
		for _, how := range s.Faster {
			fmt.Fprintf(&text, "Faster: %s\n", how)
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}
