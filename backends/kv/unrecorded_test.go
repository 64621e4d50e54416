package kv_test

import (
	"errors"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestRoleWithoutARecord: who takes a role whose record was deleted by hand is told who works
// there, by its beats; who works there may take it again, and so may anybody when the session
// is over.
func TestRoleWithoutARecord(t *testing.T) {
	inBubble(t, func(r *rig) {
		l, watching := r.locker(), r.locker()
		a, b := r.join(l, "a"), r.join(watching, "b")
		r.view(watching).last()
		token := r.acquire(a)
		r.must(a.Beat(r.ctx)) // it says so
		r.remove("state/role/r")
		_, err := b.TryAcquire(r.ctx, "r")
		var held *lock.HeldError
		if !errors.As(err, &held) || held.Holder.Session != a.ID() || held.Token != token {
			t.Fatalf("another takes it: %v, want that a has token %d", err, token)
		}
		if again := r.acquire(a); again <= token {
			t.Errorf("a takes its own role again under %d, after %d", again, token)
		}
		r.must(a.Beat(r.ctx))
		r.remove("state/role/r")
		r.must(a.Close(r.ctx))
		if next := r.acquire(b); next <= token {
			t.Errorf("b takes it under %d, after %d", next, token)
		}
	})
}

// TestCosts is how often calls ask the store. What a watch has seen need not be read again, but
// for a role that has no record, while others are in line for it.
func TestCosts(t *testing.T) {
	inBubble(t, func(r *rig) {
		l, wire := r.wired()
		var asked *calls
		costs := func(what string, reads, commits int, call func() error) {
			t.Helper()
			asked = listen(wire, nil)
			r.must(call())
			if r, c := asked.of("Read")-asked.of("all"), asked.of("Commit"); r != reads || c != commits {
				t.Errorf("%s: %d readings and %d commits, want %d and %d", what, r, c, reads, commits)
			}
		}
		var a, b lock.Session
		var token lock.Token
		costs("register", 1, 1, func() error { a = r.join(l, "a"); return nil })
		acquire := func(s lock.Session) func() error {
			return func() (err error) { token, err = s.TryAcquire(r.ctx, "r"); return err }
		}
		costs("acquire for the first time", 2, 1, acquire(a))
		costs("acquire again", 1, 0, acquire(a))
		costs("release", 1, 1, func() error { return a.Release(r.ctx, "r", token) })
		costs("acquire", 1, 1, acquire(a))
		r.must(a.Release(r.ctx, "r", token))
		r.remove("state/role/r")
		_, err := r.locker().Register(r.ctx, lab.Contender("x"), lab.Long, lock.Bid{Role: "another"})
		r.must(err)
		v := r.view(l)
		v.last()
		costs("acquire for the first time, alone in line", 0, 1, acquire(a))
		v.last()
		costs("release, watched", 0, 1, func() error { return a.Release(r.ctx, "r", token) })
		b = r.join(r.locker(), "b")
		v.until("both in line", func(st lock.Standing) bool { return len(st.Line) == 2 })
		costs("acquire, not alone", 0, 1, acquire(a))
		v.last()
		r.must(r.evict(r.locker(), a))
		c := r.join(l, "c")
		v.last()
		costs("acquire from one who was evicted", 0, 1, acquire(c))
		r.must(c.Release(r.ctx, "r", token))
		r.remove("state/role/r")
		v.until("without a record", func(st lock.Standing) bool { return st.Term.Token == 0 })
		costs("acquire for the first time, not alone", 2, 1, acquire(c))
		r.must(b.Close(r.ctx))
	})
}
