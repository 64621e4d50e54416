package coordinator

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/clock"
)

// A lease says how long one registration's promise lasts. Only the loop writes it; others read it
// without asking the loop.
type lease struct {
	config   Config
	deadline atomic.Pointer[Instant] // the end of the promise, less the skew; nil: none yet
	lost     atomic.Pointer[Instant] // when we learned that the session is lost; nil: it is not
	loss     chan struct{}           // closed then
}

func newLease(c Config) *lease { return &lease{config: c, loss: make(chan struct{})} }

// lose notes when we learned that the session is lost.
func (l *lease) lose(at Instant) {
	if l.lost.CompareAndSwap(nil, &at) {
		close(l.loss)
	}
}

// left is how long work may still act.
func (l *lease) left() time.Duration {
	if l.lost.Load() != nil {
		return 0
	}
	return l.untilDeadline(l.config.Now())
}

// untilDeadline is the time until the promise's end, less the skew.
func (l *lease) untilDeadline(now Instant) time.Duration {
	deadline := l.deadline.Load()
	if deadline == nil {
		return 0
	}
	return now.Until(*deadline)
}

// untilExit is how long work that was told to stop may take to return: until the
// deadline, and after a loss no longer than the grace.
func (l *lease) untilExit(now Instant) time.Duration {
	left := l.untilDeadline(now)
	if lost := l.lost.Load(); lost != nil {
		left = min(left, l.config.Grace-now.Most(*lost))
	}
	return left
}

// guard ends one term on time, whatever the loop, the store, the log and the work are doing: it
// cancels the work when no more than the grace is left, and calls exit when nothing is left and
// the work has not returned.
func (l *lease) guard(returned <-chan struct{}, cancel context.CancelCauseFunc, exit func()) {
	w := l.config.waiter()
	defer w.close()
	loss := l.loss
	for {
		now := l.config.Now()
		left, exitIn := l.untilDeadline(now), l.untilExit(now)
		if left <= l.config.Grace {
			cancel(ErrDeadline)
		}
		if exitIn <= 0 {
			exit()
			return
		}
		wait := exitIn
		if left > l.config.Grace {
			wait = min(wait, left-l.config.Grace)
		}
		select {
		case <-returned:
			return
		case <-loss:
			loss = nil
		case <-w.after(wait):
		}
	}
}

// A waiter's waits cannot be prolonged by a machine that sleeps or a clock that is slewed.
type waiter struct {
	alarm *clock.Alarm  // nil: there is none
	often time.Duration // how often to read the clocks without an alarm
}

func (c Config) waiter() waiter {
	w := waiter{often: min(c.TTL/50, 50*time.Millisecond)}
	if c.machine {
		w.alarm = clock.NewAlarm()
	}
	return w
}

// after rings at the latest when d has passed on either clock. The alarm's clock may be slewed by
// no more than a tenth: so it is set for nine tenths, and the rest is then waited for anew.
func (w waiter) after(d time.Duration) <-chan struct{} {
	if w.alarm != nil && w.alarm.Set(max(d*9/10, min(d, time.Millisecond))) {
		return w.alarm.Rings
	}
	rings := make(chan struct{})
	time.AfterFunc(min(d, w.often), func() { close(rings) })
	return rings
}

func (w waiter) close() {
	if w.alarm != nil {
		w.alarm.Close()
	}
}

// exit ends the process because work outlived its time. Nothing comes before it that could block.
func (r *runner) exit() {
	r.exiting.Do(func() {
		switch {
		case r.config.NoExit:
		case r.config.Exit != nil:
			r.config.Exit()
		default:
			os.Exit(ExitCode)
		}
	})
}
