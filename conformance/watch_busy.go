package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// watchSlow has a consumer that takes its time, while others do not.
func watchSlow(t *trial) {
	role := t.named("r")
	l := t.open()
	s, own := t.join(t.open(), "a", role), t.join(l, "b", t.named("s"))
	ctx, cancel := context.WithCancel(t.ctx)
	first, final, done := make(chan struct{}), make(chan lock.Token, 1), make(chan struct{})
	t.after(func() { cancel(); <-done })
	var last lock.Standing // settled when done is closed
	go func() {
		defer close(done)
		n, want := 0, lock.Token(0)
		for st, err := range l.Watch(ctx, role) {
			if n++; n == 1 {
				close(first)
				select { // it takes its time
				case want = <-final:
				case <-ctx.Done():
				}
			}
			if err == nil {
				last = st
			}
			if n > 1 && holds(want)(st) {
				return
			}
		}
	}()
	<-first
	quick := t.follow(l, role)
	begun := time.Now()
	for range 100 {
		t.settle(s, role)
	}
	token := t.acquire(s, role)
	quick.until("the last of many terms, beside a slow consumer", role, holds(token))
	t.beat(s)
	asked := time.Now()
	if err := t.one(func(ctx context.Context) error { return own.Beat(ctx) }); err != nil || time.Since(asked) > t.slack() {
		t.errorf("a beat of a Locker that has a slow consumer took %v: %v", time.Since(asked), err)
	}
	if took := time.Since(begun); took > t.patience() {
		t.errorf("beside a slow consumer 100 terms took %v", took)
	}
	final <- token
	if !within(done, t.patience()) {
		cancel()
		<-done
		t.errorf("a slow consumer never saw the last term, %d; the last that it saw is %+v", token, last.Term)
	}
}

// watchBusy keeps a Locker always in some call: its watch must still show what others do.
func watchBusy(t *trial) {
	role, other := t.named("r"), t.named("s")
	near := t.open()
	a, b := t.join(t.open(), "a", role, other), t.join(near, "b", role)
	t.acquire(a, role)
	f := t.follow(near, other)
	ctx, stop := context.WithCancel(t.ctx)
	var callers sync.WaitGroup
	t.after(func() { stop(); callers.Wait() })
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				_, err := b.TryAcquire(ctx, role) // moved: it has not heard of the holder yet
				if !errors.Is(err, lock.ErrHeld) && !errors.Is(err, lock.ErrMoved) && ctx.Err() == nil {
					t.errorf("a role that is held: %s", outcome(err))
				}
				t.pause(time.Millisecond)
			}
		})
	}
	t.pause(time.Millisecond) // by then they are calling
	for range 10 {
		begun := time.Now()
		token := t.acquire(a, other)
		f.until("an acquisition, beside calls of its own Locker", other, holds(token))
		t.release(a, other, token)
		f.until("a release, beside calls of its own Locker", other, vacant)
		if took, most := time.Since(begun), 2*t.slack(); took > most {
			t.errorf("beside calls of its own Locker a watch shows a term after %v, want at most %v", took, most)
		}
	}
}
