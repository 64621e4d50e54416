package conformance

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

func pauseSeen(t *trial) {
	role, unknown := t.named("r"), t.named("nobody's")
	op := t.open()
	t.join(op, "a", role)
	followers := []*follower{t.follow(op, role, unknown), t.follow(t.open(), role, unknown), t.follow(t.open())}
	see := func(role, what string, ok func(lock.Standing) bool) {
		begun := time.Now()
		for i, f := range followers {
			f.until(what, role, ok)
			if took, most := time.Since(begun), t.slack()+t.TTL/2; t.Far == 0 && took > most {
				t.errorf("watch %d shows %s after %v, want at most %v", i, what, took, most)
			}
		}
	}
	see(role, "a line of one", func(st lock.Standing) bool { return len(st.Line) == 1 })
	for _, role := range []string{role, unknown} {
		for _, why := range []string{"a first pause", "another one"} {
			t.pauseRole(op, role, pauseFor(why))
			if st := t.look(op, role); !isPaused(pauseFor(why))(st) {
				t.errorf("a watch of the Locker that paused %s for %s first shows %+v", role, why, st.Pause)
			}
			see(role, why, isPaused(pauseFor(why)))
		}
		for range 2 {
			t.resume(op, role)
			if st := t.look(op, role); !st.Pause.IsZero() {
				t.errorf("a watch of the Locker that resumed %s first shows %+v", role, st.Pause)
			}
			see(role, "no pause", isPaused(lock.Pause{}))
		}
	}
}

func pauseResumed(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a := t.join(near, "a", role)
	end := func(l *Client, why string) func(ctx context.Context) error {
		return func(ctx context.Context) error { return t.operator(l).Resume(ctx, role, pauseFor(why)) }
	}
	t.must("end a pause where there is none", end(near, "none"))
	t.pauseRole(near, role, pauseFor("a first pause"))
	t.pauseRole(far, role, pauseFor("another one"))
	t.want(lock.ErrMoved, "end a pause that another one has replaced", end(near, "a first pause"))
	if st := t.look(near, role); !isPaused(pauseFor("another one"))(st) {
		t.errorf("the end of another pause has left %+v", st.Pause)
	}
	t.waits(a, role)
	for _, l := range []*Client{near, far, near} {
		t.must("end the pause that was seen", end(l, "another one"))
	}
	t.acquire(a, role)
}

func pauseOutlasts(t *trial) {
	role := t.named("r")
	l := t.open()
	a := t.join(l, "a", role)
	token := t.acquire(a, role)
	t.pauseRole(l, role, pauseFor("to outlast all"))
	t.end(a)
	t.resumed(role, token)
}

// resumed expects that a role is paused for newcomers, and can be taken once it is resumed.
func (t *trial) resumed(role string, last lock.Token) {
	l := t.open()
	paused := isPaused(pauseFor("to outlast all"))
	t.await(l, role, "the pause, and that the term is over", func(st lock.Standing) bool { return paused(st) && vacant(st) && st.Term.Token == last })
	b := t.join(l, "b", role)
	t.waits(b, role)
	t.resume(l, role)
	if next := t.acquire(b, role); next <= last {
		t.errorf("token %d after %d", next, last)
	}
}

func pauseRestart(t *trial) {
	role := t.named("r")
	l := t.open()
	a := t.join(l, "a", role)
	token := t.acquire(a, role)
	t.release(a, role, token)
	set := t.settings(role, 5)
	set.Drained = true
	t.configure(l, t.named("a"), set)
	t.record(l, role, eventAt(0))
	t.pauseRole(l, role, pauseFor("to outlast all"))
	t.disturb("restart", t.store.Restart)
	t.waits(a, role)
	t.end(a)
	if got := t.configured(l, t.named("a")); !sameSettings(got, set) {
		t.errorf("after a restart what is set is %+v, want %+v", got, set)
	}
	if got := t.history(l, role); len(got) != 1 {
		t.errorf("after a restart the history is %+v", got)
	}
	t.resumed(role, token)
}

func (t *trial) settings(role string, priority int) lock.Settings {
	return lock.Settings{By: "an operator", At: when, Priorities: map[string]int{role: priority, t.named("another role"): -1}}
}

func (t *trial) configure(l *Client, id string, s lock.Settings) {
	op := t.operator(l)
	t.must("configure "+id, func(ctx context.Context) error { return op.Configure(ctx, id, s) })
}

// configured is what is set for a contender.
func (t *trial) configured(l *Client, id string) (s lock.Settings) {
	op := t.operator(l)
	t.must("read what is set", func(ctx context.Context) error {
		all, err := op.Configured(ctx)
		s = all[id]
		return err
	})
	return s
}

func sameSettings(a, b lock.Settings) bool {
	return a.By == b.By && a.At.Equal(b.At) && a.Drained == b.Drained && len(a.Priorities) == len(b.Priorities) &&
		(len(a.Priorities) == 0 || reflect.DeepEqual(a.Priorities, b.Priorities))
}

// shownWith reports whether a member of a role is shown with what is set, including the priority
// for that role only.
func shownWith(m lock.Member, role string, s lock.Settings) bool {
	p, ok := s.Priorities[role]
	s.Priorities = map[string]int{role: p}
	if !ok {
		s.Priorities = nil
	}
	return sameSettings(m.Settings, s) && m.Ready() != s.Drained && (!ok || s.Drained || m.Priority == p)
}

func settingsSeen(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	set := t.settings(role, 5)
	t.configure(far, t.named("b"), set) // before there is such a session
	if got := t.configured(near, t.named("b")); !sameSettings(got, set) {
		t.errorf("what is set for a contender without a session is %+v, want %+v", got, set)
	}
	a := t.register(near, t.contender("a"), lock.Bid{Role: role, Priority: 3})
	f := t.follow(near, role)
	f.until("a line of one", role, func(st lock.Standing) bool { return len(st.Line) == 1 })
	for range 2 { // the second one is another session
		b := t.register(far, t.contender("b"), lock.Bid{Role: role, Priority: 1})
		f.until("the settings in line", role, func(st lock.Standing) bool {
			return len(st.Line) == 2 && shownWith(st.Line[0], role, set) && st.Line[0].Session == b.ID() && st.Line[1].Priority == 3 && st.Line[1].Settings.IsZero()
		})
		token := t.acquire(b, role)
		f.until("the settings of the holder", role, func(st lock.Standing) bool {
			return holds(token)(st) && shownWith(st.Term.Holder, role, set)
		})
		t.end(b)
		f.until("the end", role, vacant)
	}
	low := t.settings(role, -4)
	t.configure(near, t.named("a"), low)
	if st := t.look(near, role); len(st.Line) != 1 || !shownWith(st.Line[0], role, low) || st.Line[0].Session != a.ID() {
		t.errorf("a watch of the Locker that configured first shows %+v", st.Line)
	}
	f.until("settings of who is in line", role, func(st lock.Standing) bool { return len(st.Line) == 1 && shownWith(st.Line[0], role, low) })
}

// settingsRank checks that contenders that are not ready, or drained, come last, whatever
// priority is set.
func settingsRank(t *trial) {
	role := t.named("r")
	l := t.open()
	f := t.follow(l, role)
	t.register(l, t.contender("a"), lock.Bid{Role: role, Priority: 3})
	t.register(l, t.contender("b"), lock.Bid{Role: role, Priority: 9 - lock.NotReady})
	high := t.settings(role, 5)
	t.configure(l, t.named("b"), high)
	ids := func(want ...string) func(lock.Standing) bool {
		return func(st lock.Standing) bool {
			return slices.EqualFunc(st.Line, want, func(m lock.Member, id string) bool { return m.ID == t.named(id) })
		}
	}
	f.until("one that is not ready, behind", role, func(st lock.Standing) bool {
		return ids("a", "b")(st) && st.Line[1].Priority == 5-lock.NotReady && !st.Line[1].Ready()
	})
	high.Drained = true
	t.configure(l, t.named("a"), high)
	f.until("one that is drained, behind", role, ids("b", "a"))
	t.configure(l, t.named("a"), lock.Settings{})
	f.until("one that is drained no more, before", role, ids("a", "b"))
}

func settingsReplaced(t *trial) {
	role, id := t.named("r"), t.named("a")
	l := t.open()
	t.register(l, t.contender("a"), lock.Bid{Role: role, Priority: 3})
	f := t.follow(t.open(), role)
	drained := lock.Settings{By: "another operator", At: when, Drained: true}
	for _, s := range []lock.Settings{t.settings(role, 5), drained, {By: "an operator", At: when}, {}, t.settings(role, 6), {}} {
		t.configure(l, id, s)
		if s.IsZero() {
			s = lock.Settings{}
		}
		if got := t.configured(l, id); !sameSettings(got, s) {
			t.errorf("what is set is %+v, want %+v", got, s)
		}
		f.until(fmt.Sprintf("the settings %+v", s), role, func(st lock.Standing) bool {
			return len(st.Line) == 1 && (s.Priorities != nil || s.Drained || st.Line[0].Priority == 3) && shownWith(st.Line[0], role, s)
		})
	}
	if got := t.configured(l, id); !got.IsZero() {
		t.errorf("what is set when nothing is set any more: %+v", got)
	}
}

func (t *trial) record(l *Client, role string, e lock.Event) {
	op := t.operator(l)
	t.must("record", func(ctx context.Context) error { return op.Record(ctx, role, e) })
}

func (t *trial) history(l *Client, role string) (all []lock.Event) {
	op := t.operator(l)
	t.must("read the history", func(ctx context.Context) (err error) { all, err = op.History(ctx, role); return err })
	return all
}

// eventAt is one of many events, each with a clock that goes back.
func eventAt(i int) lock.Event {
	return lock.Event{
		At: when.Add(-time.Duration(i) * time.Second), By: "a contender", Kind: lock.Began, Token: lock.Token(i + 1),
		From: "the one before", Previous: lock.Token(i), Cause: lock.CauseSilent, Detail: "in \"words\" → <ok>",
		Parts: []lock.Part{{Name: "promise", Took: 3 * time.Second}, {Name: "start", Took: time.Millisecond}},
	}
}

// wantHistory expects exactly these events.
func (t *trial) wantHistory(l *Client, role string, from, to int) {
	got := t.history(l, role)
	if len(got) != to-from {
		t.fatalf("the history of %s has %d events, want %d: %+v", role, len(got), to-from, got)
	}
	for i, e := range got {
		want := eventAt(from + i)
		if !e.At.Equal(want.At) {
			t.fatalf("event %d of %s is at %v, want %v", i, role, e.At, want.At)
		}
		if e.At = want.At; !reflect.DeepEqual(e, want) {
			t.fatalf("event %d of %s is %+v, want %+v", i, role, e, want)
		}
	}
}

func eventsKept(t *trial) {
	role, other := t.named("r"), t.named("another role")
	near, far := t.open(), t.open()
	t.wantHistory(near, role, 0, 0)
	t.record(near, other, eventAt(0))
	for i := range lock.MaxHistory + 1 {
		for range 1 + i%3 { // recorded again, it is there once
			t.record(near, role, eventAt(i))
		}
	}
	t.record(far, role, eventAt(5))
	t.wantHistory(far, role, 1, lock.MaxHistory+1)
	t.wantHistory(near, other, 0, 1)
}

func eventsBounded(t *trial) {
	role := t.named("r")
	l := t.open()
	size := func(all []lock.Event) (n int) {
		for _, e := range all {
			n += len(e.By) + len(e.Kind) + len(e.Detail)
		}
		return n
	}
	for i := range lock.MaxHistory {
		t.record(l, role, lock.Event{At: when, By: "a", Kind: lock.Outage, Token: lock.Token(i + 1), Detail: strings.Repeat("<", lock.MaxText)})
		all := t.history(l, role)
		if n := size(all); n > lock.MaxHistorySize || n == 0 || all[len(all)-1].Token != lock.Token(i+1) {
			t.fatalf("%d bytes of text are kept after event %d, want that among at most %d: %d events", n, i+1, lock.MaxHistorySize, len(all))
		}
	}
}

func eventsTogether(t *trial) {
	role := t.named("r")
	clients := []*Client{t.open(), t.open(), t.open()}
	const each = 4
	t.together(len(clients), func(c int) {
		for i := range each {
			e := eventAt(i)
			e.By = fmt.Sprint(c)
			t.record(clients[c], role, e)
		}
	})
	last := map[string]lock.Token{}
	for _, e := range t.history(t.open(), role) {
		if e.Token != last[e.By]+1 {
			t.errorf("of contender %s event %d is after %d", e.By, e.Token, last[e.By])
		}
		last[e.By] = e.Token
	}
	for c := range clients {
		if last[fmt.Sprint(c)] != each {
			t.errorf("of contender %d the last event that is kept is %d, want %d", c, last[fmt.Sprint(c)], each)
		}
	}
}

// eventsQuiet looks at watches while events are recorded.
func eventsQuiet(t *trial) {
	role := t.named("r")
	l := t.open()
	a := t.join(l, "a", role)
	token := t.acquire(a, role)
	followers := []*follower{t.follow(l, role), t.follow(t.open(), role)}
	for _, f := range followers {
		f.until("the term", role, holds(token))
	}
	t.pause(2 * t.TTL) // the line may be a TTL late
	before := []lock.Standing{followers[0].last(), followers[1].last()}
	for i := range 5 {
		t.record(l, role, eventAt(i))
	}
	t.pause(2 * t.TTL)
	for i, f := range followers {
		if now := f.last(); !reflect.DeepEqual(now, before[i]) {
			t.errorf("watch %d shows another standing when events are recorded: %+v, where it was %+v", i, now, before[i])
		}
	}
	t.release(a, role, token)
	for _, f := range followers {
		f.until("a release", role, vacant)
	}
}

// last is what the watch yielded last, without the floor, which another case may raise meanwhile.
func (f *follower) last() lock.Standing {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.seen[len(f.seen)-1]
	st.Floor = 0
	return st
}
