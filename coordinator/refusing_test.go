package coordinator

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/understudy-ha/understudy/lock"
)

// A refusing Locker refuses the calls that are named, about any role or one: for good, or for a reason of its own.
type refusing struct {
	why error // nil: for good
	lock.Locker
	refuse  atomic.Pointer[[]string]
	watches atomic.Int32
}

var errRefused = lock.Permanent(errors.New("the token was deleted"))

func (r *refusing) set(calls ...string) { r.refuse.Store(&calls) }

func (r *refusing) refuses(call string) error {
	if calls := r.refuse.Load(); calls != nil && slices.Contains(*calls, call) {
		if r.why != nil {
			return r.why
		}
		return errRefused
	}
	return nil
}

func (r *refusing) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	if err := r.refuses("register"); err != nil {
		return nil, err
	}
	s, err := r.Locker.Register(ctx, c, p, bids...)
	return refusingSession{s, r}, err
}

func (r *refusing) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		r.watches.Add(1)
		for st, err := range r.Locker.Watch(ctx, roles...) {
			for _, of := range []string{"", st.Role} {
				if bad := r.refuses("watch" + of); bad != nil {
					st, err = lock.Standing{Role: of}, bad
				}
			}
			if !yield(st, err) {
				return
			}
		}
	}
}

func (r *refusing) Evict(ctx context.Context, id lock.SessionID, seen lock.Beat, why lock.End) error {
	return unless(r.refuses("evict"), func() error { return r.Locker.Evict(ctx, id, seen, why) })
}

func unless(err error, call func() error) error {
	if err != nil {
		return err
	}
	return call()
}

type refusingSession struct {
	lock.Session
	r *refusing
}

func (s refusingSession) Beat(ctx context.Context, bids ...lock.Bid) error {
	return unless(s.r.refuses("beat"), func() error { return s.Session.Beat(ctx, bids...) })
}

func (s refusingSession) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	if err := errors.Join(s.r.refuses("acquire"), s.r.refuses("acquire"+role)); err != nil {
		return 0, err
	}
	return s.Session.TryAcquire(ctx, role)
}

func (s refusingSession) Release(ctx context.Context, role string, t lock.Token) error {
	return unless(errors.Join(s.r.refuses("release"), s.r.refuses("release"+role)), func() error { return s.Session.Release(ctx, role, t) })
}

func (s refusingSession) Handoff(ctx context.Context, role string, t lock.Token, to lock.SessionID) error {
	return unless(s.r.refuses("handoff"), func() error { return s.Session.Handoff(ctx, role, t, to) })
}

func (s refusingSession) Close(ctx context.Context) error {
	return unless(s.r.refuses("close"), func() error { return s.Session.Close(ctx) })
}
