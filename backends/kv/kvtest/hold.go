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

// deletedByHand deletes the record of a role that somebody holds, after a foreign value or
// without. Who never saw the role is told who holds it, until that one has let it go.
func deletedByHand(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, foreign := range []bool{false, true} {
		for _, read := range []bool{false, true} {
			prefix := "by-hand/" + rand.Text()
			own, fresh, hand := kv.NewLocker(open(), prefix), kv.NewLocker(open(), prefix), kv.NewHand(open(), prefix)
			a := join(ctx, t, own, "a")
			token, err := a.TryAcquire(ctx, "r")
			must(t, err)
			must(t, a.Beat(ctx))
			if foreign {
				must(t, hand.Overwrite(ctx, "r"))
			}
			must(t, hand.DeleteRole(ctx, "r"))
			b := join(ctx, t, fresh, "b")
			var stop func()
			if read {
				watching, end := context.WithCancel(ctx)
				done, seen := make(chan struct{}), make(chan struct{}, 1)
				go func() {
					defer close(done)
					for range fresh.Watch(watching, "r") { //nolint:errcheck // what it shows is not looked at
						select {
						case seen <- struct{}{}:
						default:
						}
					}
				}()
				<-seen
				stop = func() { end(); <-done }
			}
			var held *lock.HeldError
			if _, err := b.TryAcquire(ctx, "r"); !errors.As(err, &held) || held.Holder.Session != a.ID() || held.Token != token {
				t.Errorf("foreign %v, watched %v: one who never saw the role: %v, want to be told that a holds it with token %d", foreign, read, err, token)
			}
			must(t, a.Release(ctx, "r", token))
			next, err := b.TryAcquire(ctx, "r")
			if err != nil || next <= token {
				t.Errorf("foreign %v, watched %v: after a release of token %d: %d, %v", foreign, read, token, next, err)
			}
			must(t, b.Release(ctx, "r", next))
			must(t, a.Beat(ctx))
			must(t, b.Beat(ctx))
			must(t, hand.DeleteRole(ctx, "r"))
			if last, err := a.TryAcquire(ctx, "r"); err != nil || last <= next {
				t.Errorf("foreign %v, watched %v: after everybody let it go with token %d: %d, %v", foreign, read, next, last, err)
			}
			if read {
				stop()
			}
			must(t, errors.Join(own.Close(), fresh.Close(), hand.Close()))
		}
	}
}
