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
	f := follower{statusCommand: s, found: map[string]lock.Standing{}, told: map[string]string{}}
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
	store backends.Health
	found map[string]lock.Standing
	told  map[string]string // the last line of each role
	why   error             // why the store does not answer; nil: it does
}

// terminal reports whether the page goes to a terminal, where it can be redrawn.
func (f *follower) terminal() bool { return cli.Terminal(f.out) && *f.output != "json" }

// inspectEvery is how often the store's servers are asked for their health.
const inspectEvery = 5 * time.Second

// change is what a watch yields.
type change struct {
	lock.Standing
	err error
}

func (f *follower) run(ctx context.Context, l lock.Locker) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, servers := make(chan change), make(chan backends.Health)
	go f.changes(ctx, l, changes)
	if f.live || *f.output == "json" { // lines of text do not mention them
		go f.servers(ctx, servers)
	}
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
		case f.store = <-servers:
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

// servers sends the health of the store's servers, now and then, until ctx is done.
func (f *follower) servers(ctx context.Context, to chan<- backends.Health) {
	again := time.NewTicker(inspectEvery)
	defer again.Stop()
	for ctx.Err() == nil {
		h, _ := f.Store.Row().Health(ctx, f.Store) // show what is known; the roles say why the rest is not
		select {
		case to <- h:
		case <-ctx.Done():
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

func (f *follower) show() error {
	if f.live {
		return f.redraw()
	}
	for _, st := range byName(f.found) {
		text := line(st)
		if text == f.told[st.Role] {
			continue
		}
		f.told[st.Role] = text
		if *f.output != "json" {
			text = time.Now().Format("2006-01-02T15:04:05.000Z07:00") + " " + text
		} else {
			r := newReport(f.Store.Backend, f.store, []heard{{Standing: st, at: time.Now()}})
			doc, err := json.Marshal(r)
			if err != nil {
				return err
			}
			text = string(doc)
		}
		if _, err := fmt.Fprintln(f.out, text); err != nil {
			return err
		}
	}
	return f.outage()
}

// outage says on standard error that the store does not answer, and that it does again.
func (f *follower) outage() error {
	text := ""
	if f.why != nil {
		text = "the store does not answer"
	}
	if text == f.told[""] {
		return nil
	}
	f.told[""] = text
	if f.why == nil {
		cli.Say(f.errs, "understudy: the store answers again\n")
	} else {
		cli.Say(f.errs, fmt.Sprintf("understudy: warning: %s: %v\n", text, f.why))
	}
	return nil
}

// redraw shows the whole page anew.
func (f *follower) redraw() error {
	var page strings.Builder
	page.WriteString("\x1b[H\x1b[2J")
	var all []heard
	for _, st := range byName(f.found) {
		all = append(all, heard{Standing: st, at: time.Now()})
	}
	if err := newReport(f.Store.Backend, f.store, all).show(&page, *f.output); err != nil {
		return err
	}
	if f.why != nil {
		fmt.Fprintf(&page, "\nthe store does not answer, and this may be old: %v\n", f.why)
	}
	_, err := fmt.Fprint(f.out, page.String())
	return err
}

// line is a role's state, without what changes with every beat.
func line(st lock.Standing) string {
	active, token := "nobody", st.Term.Token
	switch m := st.Term.Holder; {
	case st.Term.Vacant():
	case m.Beat == lock.Absent:
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
