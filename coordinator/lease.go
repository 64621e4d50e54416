package coordinator

import (
	"context"
	"sync/atomic"
	"time"
)

// A lease says how long one registration's promise still stands. The loop alone
// writes it; whoever must know reads it without asking the loop.
type lease struct {
	config Config
	sent   atomic.Pointer[Instant] // when the last acknowledged beat began; nil: no deadline yet
	lost   atomic.Pointer[Instant] // when the loss of the session was learned; nil: it was not
}

// left is how long work may still act.
func (l *lease) left() time.Duration {
	if l.lost.Load() != nil {
		return 0
	}
	return l.untilDeadline(l.config.Now())
}

// untilDeadline is how long it is until the promise's end, less the skew.
func (l *lease) untilDeadline(now Instant) time.Duration {
	sent := l.sent.Load()
	if sent == nil {
		return 0
	}
	return l.config.TTL - l.config.Skew - now.most(*sent)
}

// untilExit is how long work that was told to stop may take to return: until the
// deadline, and after a loss no longer than the grace.
func (l *lease) untilExit(now Instant) time.Duration {
	left := l.untilDeadline(now)
	if lost := l.lost.Load(); lost != nil {
		left = min(left, l.config.Grace-now.most(*lost))
	}
	return left
}

// guard ends one term on time, whatever the loop, the store, the log and the
// work are doing: it cancels the work when no more than the grace is left, and
// calls exit when nothing is left and the work has not returned. Go's timers
// stand still while a machine sleeps, so it looks at the clocks often.
func (l *lease) guard(returned <-chan struct{}, cancel context.CancelCauseFunc, exit func()) {
	tick := min(l.config.TTL/50, 50*time.Millisecond)
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
		wait := min(tick, exitIn)
		if left > l.config.Grace {
			wait = min(wait, left-l.config.Grace)
		}
		select {
		case <-returned:
			return
		case <-time.After(wait):
		}
	}
}
