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

// TestAloneInLine: who is seen to be alone in line for a role that was never held takes it
// without reading anything.
func TestAloneInLine(t *testing.T) {
	inBubble(t, func(r *rig) {
		l, wire := r.wired()
		a := r.join(l, "a")
		_, err := r.locker().Register(r.ctx, lab.Contender("b"), lab.Long, lock.Bid{Role: "another"})
		r.must(err)
		r.view(l).last()
		asked := listen(wire, nil)
		r.acquire(a)
		if n := asked.of("Read") - asked.of("all"); n != 0 {
			t.Errorf("it takes %d readings", n)
		}
	})
}
