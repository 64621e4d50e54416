package kv_test

import (
	"errors"
	"testing"

	"github.com/understudy-ha/understudy/lock"
)

// TestRoleWithoutARecord: who takes a role whose record was deleted by hand is told who works
// there, by its beats; who works there may take it again, and so may anybody when the session
// is over.
func TestRoleWithoutARecord(t *testing.T) {
	inBubble(t, func(r *rig) {
		l := r.locker()
		a, b := r.join(l, "a"), r.join(r.locker(), "b")
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
