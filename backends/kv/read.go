package kv

import (
	"context"
	"errors"
	"time"
)

// How readings of everything are hedged. No reading is given up because it is slow: while one is
// unanswered another begins, because another member or another connection may be well, and the
// first answer counts. Only after a long silence all are given up, and the watches are told: a
// reading that hangs for ever must not keep others from beginning. The next silence may last
// twice as long.
const (
	firstHedge = 500 * time.Millisecond // from a reading to the next, at least; it doubles
	mostOpen   = 4
	silence    = 10 * time.Second
)

var errSilent = errors.New("the store has not answered for " + silence.String() + " or longer; it is still being asked")

// An answer is the result of one reading.
type answer struct {
	view View
	err  error
	took time.Duration
}

// read reads everything and publishes it.
func (f *follower) read(ctx context.Context) (*picture, error) {
	select {
	case <-f.wake: // this read answers all requests before it
	default:
	}
	f.mu.Lock()
	asked := f.asked
	f.mu.Unlock()
	v, err := f.readHedged(ctx)
	if err != nil {
		return nil, err
	}
	p := newPicture(f.locker.keys, v)
	f.publish(news{answered: asked, picture: p}, nil)
	f.forget(asked)
	return p, nil
}

// readHedged returns the first answer. An error counts only when no other reading is open.
func (f *follower) readHedged(ctx context.Context) (View, error) {
	for most := silence; ; most *= 2 {
		v, err := f.readWithin(ctx, most)
		if !errors.Is(err, errSilent) {
			return v, err
		}
		f.publish(news{err: err}, nil)
	}
}

// readWithin is readHedged for at most that long; then it returns errSilent.
func (f *follower) readWithin(ctx context.Context, most time.Duration) (View, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, mostOpen) // has room for all that may still come
	begin := func() {
		f.locker.background(func(context.Context) {
			at, held := time.Now(), f.locker.holds()
			v, err := f.locker.bare.Read(ctx, f.locker.keys.line(), f.locker.keys.state())
			if err == nil {
				err = f.locker.accept(held, v)
			}
			answers <- answer{v, err, time.Since(at)}
		})
	}
	begin()
	open, wait, silent := 1, max(firstHedge, 2*f.locker.trip()), time.After(most)
	hedge := time.NewTimer(wait)
	defer hedge.Stop()
	for {
		select {
		case a := <-answers:
			if open--; a.err == nil {
				f.locker.took.Store(int64(a.took))
			}
			if a.err == nil || open == 0 {
				return a.view, a.err
			}
		case <-hedge.C:
			wait *= 2
			hedge.Reset(wait)
			if open < mostOpen {
				open++
				begin()
			}
		case <-silent:
			return View{}, errSilent
		case <-ctx.Done():
			return View{}, ctx.Err()
		}
	}
}

// trip is how long the last reading of everything took.
func (l *locker) trip() time.Duration { return time.Duration(l.took.Load()) }
