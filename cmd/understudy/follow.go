package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

// forever is longer than anybody watches.
const forever = 100 * 365 * 24 * time.Hour

// watch shows the roles until it is interrupted.
func (s *statusCommand) watch(ctx context.Context, l lock.Locker) error {
	asking, cancel := context.WithTimeout(ctx, s.first)
	all, err := standings(asking, l, s.asked()...)
	cancel()
	if err != nil {
		return cli.Unreachable(err)
	}
	f := follower{statusCommand: s, found: map[string]lock.Standing{}, told: map[string]string{}, beats: map[string]beaten{}}
	for _, st := range all {
		f.found[st.Role] = st
	}
	f.live = f.terminal()
	return f.run(ctx, l)
}

// A follower is one status --watch.
type follower struct {
	*statusCommand
	live  bool // on a terminal
	store inspection
	found map[string]lock.Standing
	told  map[string]string // the last line of each role
	lost  string            // that the store does not answer, as it was told; "": it does
	weak  string            // which servers of a store that answers do not, or fail, as it was told; "": none
	why   error             // why the roles cannot be watched; nil: they can
	beats map[string]beaten // of each role's active
	well  time.Time         // when the store was asked last of those times that it answered
}

// A beaten is a beat of a term, and when it was first seen.
type beaten struct {
	token lock.Token
	beat  lock.Beat
	at    time.Time
}

// terminal reports whether the page goes to a terminal, where it can be redrawn.
func (f *follower) terminal() bool { return cli.Terminal(f.out) && *f.output != "json" }

// The store's servers are asked for their health so often, each time for so long: they may be far away.
const (
	inspectEvery = 3 * time.Second
	inspectFor   = 5 * time.Second
)

// change is what a watch yields.
type change struct {
	lock.Standing
	err error
}

// asked is what the store's servers answered, and when they were asked.
type asked struct {
	inspection
	at time.Time
}

func (f *follower) run(ctx context.Context, l lock.Locker) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, servers := make(chan change), make(chan asked)
	go f.changes(ctx, l, changes)
	go f.servers(ctx, servers)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		if err := f.show(); err != nil {
			return err
		}
		select {
		case c := <-changes:
			f.why = c.err
			if c.err == nil {
				f.found[c.Role] = c.Standing
			}
		case answer := <-servers:
			if f.store = answer.inspection; f.outage() == "" {
				f.well = answer.at
			}
		case <-second.C: // the ages on the page
		case <-ctx.Done():
			return nil
		}
	}
}

// changes sends every change until ctx is done.
func (f *follower) changes(ctx context.Context, l lock.Locker, to chan<- change) {
	for ctx.Err() == nil {
		for st, err := range l.Watch(ctx, f.asked()...) {
			select {
			case to <- change{st, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				cli.Pause(ctx)
			}
		}
		cli.Pause(ctx)
	}
}

// servers sends the health of the store's servers, now and then, until ctx is done. Where nobody answers, the
// members are those that were known.
func (f *follower) servers(ctx context.Context, to chan<- asked) {
	again := time.NewTicker(inspectEvery)
	defer again.Stop()
	var known backends.Health
	for ctx.Err() == nil {
		now := time.Now()
		asking, cancel := context.WithTimeout(ctx, inspectFor)
		h, err := f.Store.Row().Health(asking, f.Store)
		cancel()
		found := inspection{Health: h}
		if len(h.Members) == 0 && len(known.Members) > 0 {
			found = inspection{known, err, ""}
		} else {
			known = h
		}
		select {
		case to <- asked{found, now}:
		case <-ctx.Done():
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// outage says that the store does not answer, so that the roles are as they were last seen; "": it does. A
// node of Raft that is left without a majority shows its past, and no watch fails.
func (f *follower) outage() string {
	margin, known := f.store.Margin()
	switch {
	case f.why != nil:
		return fmt.Sprintf("the store does not answer: %v", f.why)
	case f.store.err != nil:
		return fmt.Sprintf("the store does not answer: %v", f.store.err)
	case known && margin < 0:
		return "the store does not answer: " + f.store.String()
	}
	return ""
}

func (f *follower) show() error {
	if lost := f.outage(); lost == "" || f.lost == "" { // one outage is told once, though its reason may change
		defer f.tell(f.lost)
		f.lost = lost
	}
	defer f.tellServers()
	if f.live {
		return f.redraw()
	}
	for _, st := range f.heard(byName(f.found)...) {
		text := line(st)
		key := text
		if *f.output == "json" { // it shows the servers, too
			key += f.lost + f.weakness()
		}
		if key == f.told[st.Role] {
			continue
		}
		f.told[st.Role] = key
		if *f.output != "json" {
			text = time.Now().Format("2006-01-02T15:04:05.000Z07:00") + " " + text
		} else {
			doc, err := json.Marshal(f.report(st.Standing))
			if err != nil {
				return err
			}
			text = string(doc)
		}
		if _, err := fmt.Fprintln(f.out, text); err != nil {
			return err
		}
	}
	return nil
}

// report is on these roles, as they are known now.
func (f *follower) report(some ...lock.Standing) report {
	r := newReport(f.Store.Backend, f.store.Health, f.heard(some...))
	r.Store.Unanswered = f.lost
	return r
}

// heard says which actives are silent. One is if no beat came for twice the time in which one is due, and the store has answered
// since. While the store is away, nobody counts as silent.
func (f *follower) heard(some ...lock.Standing) (all []heard) {
	for _, st := range some {
		m, last := st.Term.Holder, f.beats[st.Role]
		h := heard{Standing: st, at: time.Now()}
		if f.lost != "" || last.token != st.Term.Token || last.beat != m.Beat {
			last = beaten{st.Term.Token, m.Beat, h.at}
			f.beats[st.Role] = last
		}
		switch quiet := h.at.Sub(last.at); {
		case st.Term.Vacant():
		case m.Beat == lock.Absent:
			h.silent = "its session's record is missing"
		case f.well.Sub(last.at) >= m.TTL/2:
			h.silent = fmt.Sprintf("no beat for %v", quiet.Round(100*time.Millisecond))
		}
		all = append(all, h)
	}
	return all
}

// tell says on standard error that the store does not answer any more, or that it does again.
func (f *follower) tell(before string) {
	switch {
	case f.live || (before == "") == (f.lost == ""):
	case f.lost == "":
		cli.Say(f.errs, "understudy: the store answers again\n")
	default:
		cli.Say(f.errs, fmt.Sprintf("understudy: warning: %s\n", f.lost))
	}
}

// weakness names the servers that are silent or failing, and why every write is refused; "": nothing of it.
func (f *follower) weakness() string {
	if len(f.store.Silent)+len(f.store.Failing)+len(f.store.Barred) == 0 && f.store.Refuses == "" {
		return ""
	}
	return fmt.Sprint(f.store.Silent, f.store.Failing, f.store.Barred, f.store.Refuses)
}

// tellServers says on standard error that servers of a store which answers do not, or do again. A page and a document
// have that themselves, and an outage says more.
func (f *follower) tellServers() {
	weak := f.weakness()
	switch {
	case f.live || *f.output == "json":
	case f.lost != "":
		f.weak = ""
	case weak == f.weak:
	case weak == "":
		f.weak = ""
		cli.Say(f.errs, "understudy: every server of the store is well again\n")
	default:
		f.weak = weak
		cli.Say(f.errs, fmt.Sprintf("understudy: warning: the store: %s\n", f.store))
	}
}

// redraw shows the whole page anew.
func (f *follower) redraw() error {
	var page strings.Builder
	page.WriteString("\x1b[H\x1b[2J")
	if err := f.report(byName(f.found)...).show(&page, *f.output); err != nil {
		return err
	}
	if f.lost != "" {
		fmt.Fprintf(&page, "\n%s; what is above may be old\n", f.lost)
	}
	_, err := fmt.Fprint(f.out, page.String())
	return err
}

// line is a role's state, without what changes with every beat.
func line(st heard) string {
	active, token := "nobody", st.Term.Token
	switch m := st.Term.Holder; {
	case st.Term.Vacant():
	case st.silent != "":
		active = m.ID + ", silent"
	default:
		active = m.ID
	}
	var standbys []string
	for _, m := range st.Line {
		name := m.ID
		if m.Settings.Drained {
			name += "(drained)"
		}
		standbys = append(standbys, name)
	}
	text := fmt.Sprintf("role=%s active=%s token=%d standbys=%s", st.Role, active, token, strings.Join(standbys, ","))
	if !st.Pause.IsZero() {
		text += fmt.Sprintf(" paused=%q", pausedBy(st.Pause))
	}
	return text
}
