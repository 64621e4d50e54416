package lab

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// Until calls until the outcome is known.
func Until(ctx context.Context, call func(context.Context) error) error {
	for {
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := call(short)
		cancel()
		if lock.OutcomeOf(err) != lock.Unknown || ctx.Err() != nil {
			return err
		}
	}
}

// Standing is the first one of a role that a Locker shows.
func Standing(t testing.TB, ctx context.Context, l lock.Locker, role string) (st lock.Standing) {
	t.Helper()
	for st, err := range l.Watch(ctx, role) {
		if err == nil {
			return st
		}
	}
	t.Fatal("nothing is seen")
	return st
}

// Register registers a contender of the role r, however long the store is away.
func Register(t testing.TB, ctx context.Context, l lock.Locker, id string) (s lock.Session) {
	t.Helper()
	Must(t, Until(ctx, func(ctx context.Context) (err error) {
		s, err = l.Register(ctx, lock.Contender{ID: id, Session: lock.SessionID("session of " + id)}, lock.Promise{TTL: 10 * time.Second, Skew: time.Second}, lock.Bid{Role: "r"})
		return err
	}))
	return s
}

// First is what the first call of a process says. It closes the Locker at the end of the test.
func First(t testing.TB, l lock.Locker, err error) error {
	t.Helper()
	Must(t, err)
	t.Cleanup(func() { Must(t, l.Close()) })
	_, err = l.Register(Within(t, 30*time.Second), lock.Contender{ID: t.Name(), Session: lock.SessionID(t.Name())}, lock.Promise{TTL: time.Second, Skew: time.Millisecond})
	return err
}

// Beat is a call for Until.
func Beat(s lock.Session) func(context.Context) error {
	return func(ctx context.Context) error { return s.Beat(ctx) }
}

// Outlives expects a session, and its term, to outlive a server that is killed and started again.
func Outlives(t testing.TB, ctx context.Context, l lock.Locker, kill func(), restart func(context.Context) error) {
	t.Helper()
	a := Register(t, ctx, l, "a")
	token := Acquire(ctx, t, a)
	for range 2 {
		kill()
		if err := a.Beat(Within(t, time.Second)); lock.OutcomeOf(err) != lock.Unknown {
			t.Errorf("a beat without a server: %v", err)
		}
		Must(t, restart(ctx))
		Must(t, Until(ctx, Beat(a)))
	}
	if again, err := a.TryAcquire(ctx, "r"); err != nil || again != token {
		t.Errorf("token %d, %v; it was %d", again, err, token)
	}
}
