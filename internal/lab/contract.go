package lab

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// Long is a promise that no test waits out.
var Long = lock.Promise{TTL: time.Hour, Skew: time.Minute}

var sessions atomic.Int64

// Contender is one with a session ID that no other has.
func Contender(id string) lock.Contender {
	return lock.Contender{ID: id, Address: id + ":1", Session: lock.SessionID(fmt.Sprintf("%s-%d", id, sessions.Add(1)))}
}

// Join registers a contender that bids for role r.
func Join(ctx context.Context, t testing.TB, l lock.Locker, id string) lock.Session {
	t.Helper()
	s, err := l.Register(ctx, Contender(id), Long, lock.Bid{Role: "r"})
	Must(t, err)
	return s
}

// Acquire takes role r.
func Acquire(ctx context.Context, t testing.TB, s lock.Session) lock.Token {
	t.Helper()
	token, err := s.TryAcquire(ctx, "r")
	Must(t, err)
	return token
}

// Watch passes on what a watch of role r yields, until cancel or the end of the test ends it.
func Watch(ctx context.Context, t testing.TB, l lock.Locker, hear func(lock.Standing, error)) (cancel func(), ended <-chan struct{}) {
	ctx, cancel = context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for st, err := range l.Watch(ctx, "r") {
			hear(st, err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return cancel, done
}

// HeldBy returns what is true of a standing in which the session holds the role.
func HeldBy(s lock.Session) func(lock.Standing) bool {
	return func(st lock.Standing) bool { return !st.Term.Vacant() && st.Term.Holder.Session == s.ID() }
}

// Vacant reports whether a role has been held, and is vacant now.
func Vacant(st lock.Standing) bool { return st.Term.Token != 0 && st.Term.Vacant() }

// decide makes every call of an operator, and undoes it.
func decide(ctx context.Context, l lock.Locker, name string) error {
	op, ok := l.(lock.Operator)
	if !ok {
		return fmt.Errorf("a %T does not implement lock.Operator", l)
	}
	_, err := op.History(ctx, "r")
	_, also := op.Configured(ctx)
	return errors.Join(
		err, also, op.Pause(ctx, "r", lock.Pause{By: name}), op.Pause(ctx, "r", lock.Pause{}),
		op.Configure(ctx, name, lock.Settings{By: name, Drained: true}), op.Configure(ctx, name, lock.Settings{}),
		op.Record(ctx, "r", lock.Event{At: time.Now(), By: name, Kind: lock.Began}),
	)
}

// Walk takes a session through every call of the contract, and returns what any of them
// refused.
func Walk(ctx context.Context, l lock.Locker, name string) error {
	p := lock.Promise{TTL: time.Second, Skew: 60 * time.Millisecond}
	join := func(name string) (lock.Session, error) {
		return l.Register(ctx, lock.Contender{ID: name, Session: lock.SessionID(name + "-1")}, p, lock.Bid{Role: "r"})
	}
	s, err := join(name)
	if err != nil {
		return err
	}
	next, err := join(name + "2")
	if err != nil {
		return err
	}
	token, err := s.TryAcquire(ctx, "r")
	errs := []error{s.Beat(ctx), err, l.Ask(ctx, "r", lock.Request{Token: token, To: next.ID()}), s.Handoff(ctx, "r", token, next.ID())}
	after, err := next.TryAcquire(ctx, "r")
	if err == nil && after <= token {
		err = fmt.Errorf("token %d after %d", after, token)
	}
	errs = append(errs, err, l.Raise(ctx, after), next.Release(ctx, "r", after), s.Close(ctx), decide(ctx, l, name))
	for st, err := range l.Watch(ctx, "r") {
		if err != nil {
			return err
		}
		errs = append(errs, l.Evict(ctx, next.ID(), st.Line[0].Beat, lock.End{By: "test", Why: "done"}))
		break
	}
	return errors.Join(errs...)
}

// Labels are n labels that are as long as they may be, for a contender that takes much room.
func Labels(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[strconv.Itoa(i)] = strings.Repeat("x", lock.MaxName)
	}
	return all
}
