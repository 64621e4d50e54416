package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// runEvicted ends a standby's session, and then the active's, by an operator's word. The active
// stops when it learns of it, which that word accepts.
func runEvicted(t *trial) {
	role := t.named("r")
	l, j := t.open(), t.judge()
	a := t.contend(j, "a", nil, role)
	j.active(role, "a", 0)
	seen := map[lock.SessionID]bool{}
	for range 3 {
		st := t.await(l, role, "the active alone", func(st lock.Standing) bool {
			return !st.Term.Vacant() && len(st.Line) == 0 && !seen[st.Term.Holder.Session]
		})
		seen[st.Term.Holder.Session] = true
		t.evict(l, role, st.Term.Holder.Session)
		at := time.Now()
		next := t.await(l, role, "a new session", func(st lock.Standing) bool {
			return !st.Term.Vacant() && !seen[st.Term.Holder.Session]
		})
		if took := time.Since(at); took > 2*t.TTL+t.slack() {
			t.errorf("one that was evicted is active again after %v, want at most %v", took, 2*t.TTL)
		}
		if next.Term.Token <= st.Term.Token || next.Term.Holder.ID != a.config.ID {
			t.errorf("after the term %+v came %+v", st.Term, next.Term)
		}
	}
}

// runRegistrationLost loses the reply of a registration: the session that nobody knows of does
// not keep its contender out.
func runRegistrationLost(t *trial) {
	role := t.named("r")
	l, j := t.open(), t.judge()
	a := t.contendIn(weather{mute: true}, j, "a", nil, role)
	t.await(l, role, "a registration without a reply", func(st lock.Standing) bool { return len(st.Line) == 1 })
	t.pause(t.TTL / 2)
	a.set(weather{})
	at := time.Now()
	began := j.active(role, "a", 0).began
	if took := began.Sub(at); took > 2*t.TTL+t.slack() {
		t.errorf("a contender whose registrations had no reply is active %v later, want at most %v", took, 2*t.TTL)
	}
	a.mu.Lock()
	if len(a.unsure) == 0 || len(a.again) > 0 {
		t.errorf("registrations under the IDs %q had no reply, and others followed under %q of these", a.unsure, a.again)
	}
	a.mu.Unlock()
	t.await(l, role, "one session of it", func(st lock.Standing) bool { return len(st.Line) == 0 && !st.Term.Vacant() })
}

// runSameID starts a second process under a living one's ID.
func runSameID(t *trial) {
	role, j := t.named("r"), t.judge()
	outlives := func(c *coordinator.Config) { c.Outlives = true }
	first := t.contend(j, "a", outlives, role)
	j.active(role, "a", 0)
	l := t.open()
	f := t.follow(l, role)
	second := t.contend(j, "a", outlives, role)
	if !within(second.done, 4*t.TTL+t.slack()) {
		t.fatalf("a second process with the ID of a living one still runs after %v", 4*t.TTL)
	}
	var held *lock.HeldError
	if !errors.As(second.err, &held) || held.Name != first.config.ID || held.Holder.Address != first.config.Address {
		t.errorf("a second process with the ID of a living one: %s, want a *lock.HeldError that says where that is", outcome(second.err))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, st := range f.seen {
		if len(st.Line) > 1 || len(st.Line) == 1 && !st.Term.Vacant() {
			t.errorf("two of one ID were seen: %+v", st)
		}
	}
	if j.count(role) != 1 {
		t.errorf("the works were: %s", j.tell(role))
	}
}

// runRestarted starts a process again under an ID whose process is silent, and may be dead or
// not: the new one waits out the promise, and the old one never works beside it.
func runRestarted(t *trial) {
	role, j := t.named("r"), t.judge()
	outlives := func(c *coordinator.Config) { c.Outlives = true }
	first := t.contend(j, "a", outlives, role)
	j.active(role, "a", 0)
	first.set(weather{cut: true})
	at := time.Now()
	second := t.contend(j, "a", outlives, role)
	began := j.active(role, "a", 1).began
	if took := began.Sub(at); took > 2*t.TTL+second.config.Skew+t.slack() {
		t.errorf("a process that was started again is active after %v, want at most %v", took, 2*t.TTL+second.config.Skew)
	}
	first.set(weather{})
	if !within(first.done, 4*t.TTL+t.slack()) {
		t.errorf("of two processes with one ID the first still runs, %v after it could see the second", 4*t.TTL)
	}
	if j.count(role) != 2 {
		t.errorf("the works were: %s", j.tell(role))
	}
}

// runAsked asks for one handoff after another.
func runAsked(t *trial) {
	role, j := t.named("r"), t.judge()
	ids := []string{"a", "b", "c"}
	for i, id := range ids {
		p := t.contend(j, id, nil, role)
		j.active(role, "a", 0)
		t.await(p.link, role, "the line", func(st lock.Standing) bool { return !st.Term.Vacant() && len(st.Line) == i })
	}
	l := t.open()
	f := t.follow(l, role)
	var from lock.Token
	for n, want := range []string{"c", "b", "a", "c"} {
		st := t.await(l, role, "another active", func(st lock.Standing) bool {
			return st.Term.Token > from && !st.Term.Vacant() && len(st.Line) == 2
		})
		from = st.Term.Token
		for _, m := range st.Line {
			if m.ID == t.named(want) {
				t.must("ask", func(ctx context.Context) error {
					return l.Ask(ctx, role, lock.Request{Token: from, To: m.Session, By: "the suite"})
				})
			}
		}
		asked := time.Now()
		began := j.active(role, want, n+1).began
		if took := began.Sub(asked); took > 2*t.slack()+t.TTL/10 {
			t.errorf("a handoff on request took %v", took)
		}
	}
	f.until("the last handoff", role, func(st lock.Standing) bool { return st.Term.Token > from })
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, st := range f.seen {
		if st.Term.Vacant() {
			t.errorf("in a handoff the role was seen vacant: %+v", st)
		}
	}
}
