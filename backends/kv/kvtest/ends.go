package kvtest

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/lock"
)

// proofOutlivesItsEnd ends the session of a role's holder, and then sweeps that end, as the
// store does with time: the role stays vacant and says why, and can be taken at once. So it
// is for who has read the line, whoever is in it, and for who has not where nobody is.
func proofOutlivesItsEnd(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	bare := open()
	t.Cleanup(func() { must(t, bare.Close()) })
	for what, c := range map[string]struct{ inLine, read bool }{
		"nobody is in line": {}, "nobody is in line, and it was read": {read: true}, "one is in line, and it was read": {inLine: true, read: true},
	} {
		prefix := "proof/" + rand.Text()
		own, witness := kv.NewLocker(open(), prefix), kv.NewLocker(open(), prefix)
		a := join(ctx, t, own, "a")
		token, err := a.TryAcquire(ctx, "r")
		must(t, err)
		if c.inLine {
			join(ctx, t, own, "b")
		}
		if c.read {
			shownBy(ctx, t, witness)
		}
		why := lock.End{By: "the witness", Why: "its process is dead"}
		must(t, witness.Evict(ctx, a.ID(), lock.AnyBeat, why))
		end := prefix + "/state/end/" + string(a.ID())
		found, err := bare.Read(ctx, end)
		must(t, err)
		must(t, bare.Revoke(ctx, found.Get(end).Lease)) // as when its time is over
		if found, err = bare.Read(ctx, end); err != nil || found.Get(end).Revision != 0 {
			t.Fatalf("%s: the end outlives its lease: %v", what, err)
		}
		if st := shownBy(ctx, t, own); !st.Term.Vacant() || st.Term.End != why || st.Term.Token != token {
			t.Errorf("%s: %+v", what, st.Term)
		}
		if err := a.Release(ctx, "r", token); err != nil {
			t.Errorf("%s: a release of the term that is over: %v", what, err)
		}
		if next, err := join(ctx, t, own, "c").TryAcquire(ctx, "r"); err != nil || next <= token {
			t.Errorf("%s: token %d after %d, %v", what, next, token, err)
		}
		if _, err := a.TryAcquire(ctx, "r"); !errors.Is(err, lock.ErrLost) {
			t.Errorf("%s: the one that was evicted tries: %v", what, err)
		}
		must(t, own.Close())
		must(t, witness.Close())
	}
}
