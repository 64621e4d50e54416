package etcd_test

import (
	"errors"
	"testing"

	"github.com/understudy-ha/understudy/lock"
)

// TestContract is package kv on a real server, call by call: what is told, and
// what then stands in the store.
func TestContract(t *testing.T) {
	c := start(t, 1)
	noLeak(t)
	for _, test := range []struct {
		name string
		run  func(*rig)
	}{
		{"every call", everyCall},
		{"tokens", tokens},
		{"an ID that is taken", takenID},
		{"late writes", lateWrites},
		{"handoff", handoffs},
		{"a lease that was revoked", revoked},
		{"a session that was deleted", deletedSession},
		{"a role that was deleted", deletedRole},
		{"foreign values", foreignValues},
		{"newer formats", newerFormats},
		{"names", names},
		{"floor", floors},
		{"wishes", wishes},
		{"done contexts", doneContexts},
		{"many roles", manyRoles},
		{"a record that is too large", large},
		{"the janitor", janitor},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(newRig(t, c)) })
	}
}

func everyCall(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	must(r, a.Beat(r.ctx))
	first := r.acquire(a)
	st := r.now(l)
	if st.Term.Token != first || st.Term.Holder.ID != "a" || st.Term.Holder.Promise != long || st.Term.Holder.Address != "a:1" || st.Term.Vacant() {
		r.Fatalf("%+v", st)
	}
	if len(st.Line) != 1 || st.Line[0].Session != b.ID() || st.Line[0].Beat == lock.Absent || st.Floor != first {
		r.Fatalf("%+v", st)
	}
	if _, err := b.TryAcquire(r.ctx, "r"); true {
		var held *lock.HeldError
		if !errors.As(err, &held) || held.Holder.Session != a.ID() || held.Token != first || held.Holder.ID != "a" {
			r.Fatal(err)
		}
	}
	if again := r.acquire(a); again != first {
		r.Fatalf("token %d, then %d", first, again)
	}
	must(r, l.Ask(r.ctx, "r", lock.Request{Token: first, To: b.ID(), By: "me"}))
	if st := r.now(l); st.Request.To != b.ID() || st.Request.By != "me" {
		r.Fatalf("%+v", st)
	}
	must(r, a.Handoff(r.ctx, "r", first, b.ID()))
	second := r.acquire(b)
	if st := r.now(l); st.Term.Token != second || second <= first || st.Request != (lock.Request{}) || st.Term.Holder.Session != b.ID() {
		r.Fatalf("%+v", st)
	}
	must(r, b.Release(r.ctx, "r", second))
	if st := r.now(l); !st.Term.Vacant() || st.Term.Token != second || len(st.Line) != 2 || st.Line[0].ID != "a" {
		r.Fatalf("%+v", st)
	}
	must(r, a.Close(r.ctx))
	must(r, a.Close(r.ctx))
	must(r, l.Evict(r.ctx, a.ID(), 1, lock.End{By: "me", Why: "test"})) // its end is written
	st = r.now(l)
	must(r, l.Evict(r.ctx, b.ID(), st.Line[0].Beat, lock.End{By: "me", Why: "test"}))
	if st := r.now(l); len(st.Line) != 0 {
		r.Fatalf("%+v", st)
	}
	for _, s := range []lock.Session{a, b} {
		want(r, s.Beat(r.ctx), lock.ErrLost)
		_, err := s.TryAcquire(r.ctx, "r")
		want(r, err, lock.ErrLost)
	}
}

// tokens increase, whatever becomes of the records, and a token is the revision
// that a fencing guard compares.
func tokens(r *rig) {
	l := r.locker()
	var last lock.Token
	for range 3 {
		s := r.join(l, "a")
		for _, end := range []func(lock.Token) error{
			func(t lock.Token) error { return s.Release(r.ctx, "r", t) },
			func(lock.Token) error { _, err := r.hand.Delete(r.ctx, r.prefix+"state/role/r"); return err },
			func(lock.Token) error { return s.Close(r.ctx) },
		} {
			token := r.acquire(s)
			if _, revision := r.get("state/role/r"); token <= last || int64(token) != revision {
				r.Fatalf("token %d at revision %d after %d", token, revision, last)
			}
			last = token
			must(r, end(token))
		}
	}
}

func takenID(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	_, err := l.Register(r.ctx, r.contender("a"), long)
	var held *lock.HeldError
	if !errors.As(err, &held) || held.Holder.Session != a.ID() || held.Holder.Beat == lock.Absent || held.Holder.Promise != long || held.Token != 0 {
		r.Fatal(err)
	}
	leases, err := r.hand.Leases(r.ctx)
	must(r, err)
	before := len(leases.Leases)
	for range 3 { // who must wait leaves nothing behind
		_, err := l.Register(r.ctx, r.contender("a"), long)
		want(r, err, lock.ErrHeld)
	}
	leases, err = r.hand.Leases(r.ctx)
	must(r, err)
	if n := len(leases.Leases); n != before {
		r.Errorf("%d leases, then %d", before, n)
	}

	r.remove("line/session/" + string(a.ID())) // the claim alone counts for nothing
	b := r.join(l, "a")
	want(r, a.Beat(r.ctx), lock.ErrLost)
	must(r, a.Close(r.ctx)) // and its end leaves the other's claim alone
	_, err = l.Register(r.ctx, r.contender("a"), long)
	if !errors.As(err, &held) || held.Holder.Session != b.ID() {
		r.Fatal(err)
	}
}

// lateWrites come when their session has been ended, and change nothing.
func lateWrites(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	old := r.acquire(a)
	must(r, l.Evict(r.ctx, a.ID(), r.now(l).Term.Holder.Beat, lock.End{By: "b", Why: "silent"}))
	token := r.acquire(b)
	role, at := r.get("state/role/r")
	want(r, a.Beat(r.ctx), lock.ErrLost)
	must(r, a.Release(r.ctx, "r", old))
	want(r, a.Handoff(r.ctx, "r", old, b.ID()), lock.ErrMoved)
	_, err := a.TryAcquire(r.ctx, "r")
	want(r, err, lock.ErrLost)
	must(r, a.Close(r.ctx))
	_, err = l.Register(r.ctx, lock.Contender{ID: "a", Session: a.ID()}, long)
	want(r, err, lock.ErrLost)
	if now, revision := r.get("state/role/r"); now != role || revision != at || lock.Token(revision) != token {
		r.Errorf("%s\nbecame\n%s", role, now)
	}
	if v, _ := r.get("line/session/" + string(a.ID())); v != "" {
		r.Errorf("the session is back: %s", v)
	}
	if v, _ := r.get("line/claim/a"); v != "" {
		r.Errorf("the claim is there: %s", v)
	}

	// A try inside the same registration finds its own record, and beats it.
	again := lock.Contender{ID: "b", Session: b.ID()}
	_, before := r.get("line/session/" + string(b.ID()))
	_, err = l.Register(r.ctx, again, long, lock.Bid{Role: "r"})
	must(r, err)
	if _, after := r.get("line/session/" + string(b.ID())); after <= before {
		r.Errorf("beat %d, then %d", before, after)
	}
}

func handoffs(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	token := r.acquire(a)
	want(r, a.Handoff(r.ctx, "r", token, "nobody"), lock.ErrGone)
	want(r, a.Handoff(r.ctx, "r", token-1, b.ID()), lock.ErrMoved)
	want(r, b.Handoff(r.ctx, "r", token, a.ID()), lock.ErrMoved)
	must(r, a.Handoff(r.ctx, "r", token, b.ID()))
	must(r, a.Handoff(r.ctx, "r", token, b.ID())) // the very same
	want(r, a.Handoff(r.ctx, "r", token, a.ID()), lock.ErrMoved)
	next := r.acquire(b)
	must(r, a.Release(r.ctx, "r", token))              // is over
	want(r, a.Release(r.ctx, "r", next), lock.ErrHeld) // is not a's
	must(r, b.Release(r.ctx, "r", token))              // was not b's
	if st := r.now(l); st.Term.Token != next || st.Term.Vacant() {
		r.Fatalf("%+v", st)
	}
	must(r, b.Release(r.ctx, "r", next))
	must(r, a.Handoff(r.ctx, "r", token, b.ID()))
	token = r.acquire(a)
	r.remove("line/session/" + string(a.ID()))
	want(r, a.Handoff(r.ctx, "r", token, b.ID()), lock.ErrLost)
	must(r, a.Release(r.ctx, "r", token))
	if st := r.now(l); !st.Term.Vacant() || st.Term.Token != token {
		r.Errorf("%+v", st)
	}
}
