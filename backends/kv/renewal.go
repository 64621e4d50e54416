package kv

import (
	"context"
	"errors"

	"github.com/understudy-ha/understudy/lock"
)

// A renewal renews a lease while other calls go on, and grants another where it is
// gone, or where there was none.
type renewal struct {
	old   Lease
	done  chan struct{}
	lease Lease // the one that stands
	err   error // why it was not renewed
}

func (l *locker) renew(ctx context.Context, old Lease, p lock.Promise) *renewal {
	r := &renewal{old: old, lease: old, done: make(chan struct{})}
	runs := l.background(func(context.Context) {
		defer close(r.done)
		if old != "" {
			if r.err = l.store.Keep(ctx, old); !errors.Is(r.err, ErrNoLease) {
				return
			}
		}
		r.lease, r.err = l.store.Grant(ctx, leaseFor(p))
	})
	if !runs {
		r.err = errClosed
		close(r.done)
	}
	return r
}

// wait returns the lease that stands.
func (r *renewal) wait(ctx context.Context) (Lease, error) {
	select {
	case <-r.done:
		return r.lease, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// soon returns the lease to try: the old one for as long as nothing else is known.
func (r *renewal) soon(ctx context.Context) (Lease, error) {
	select {
	case <-r.done:
	default:
		if r.old != "" {
			return r.old, nil
		}
	}
	lease, err := r.wait(ctx)
	if lease != "" {
		err = nil // it was not renewed, and may stand
	}
	return lease, err
}
