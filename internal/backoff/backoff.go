// Package backoff spaces the calls to a store that refuses each of them at once, as one does that
// is down, or that has no connection left to give.
package backoff

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Least is the pause after the first failure.
const Least = 20 * time.Millisecond

const (
	unknown = 250 * time.Millisecond // the longest pause of a process that has not seen a ttl yet
	longest = time.Second
)

// Most is the longest pause where this is the shortest ttl of those who use the store; 0: none is
// known. It is half of a try, so that a beat which begins when the store comes back has the other
// half: the longest outage that is ridden out stays what it is.
func Most(ttl time.Duration) time.Duration {
	if ttl <= 0 {
		return unknown
	}
	return min(max(ttl/16, Least), longest)
}

// Next is the pause after one of last, or after none: twice as long, and no longer than most.
func Next(last, most time.Duration) time.Duration { return min(max(2*last, Least), max(most, Least)) }

// Jitter is up to a quarter less than d: those who lost the store together do not come back together.
func Jitter(d time.Duration) time.Duration { return d - rand.N(max(d/4, 1)) }

// A Gate is what calls to one store pass. While they are answered it is open. Otherwise it lets one
// through after each pause, and all as soon as one is answered. It is safe for concurrent use, and
// its zero value is open.
type Gate struct {
	mu    sync.Mutex
	pause time.Duration // 0: it is open
	due   time.Time     // when the next call may begin
	tried bool          // one has begun since it was
	open  chan struct{} // closed when the gate opens
}

// Wait returns nil when a call may begin.
func (g *Gate) Wait(ctx context.Context) error {
	for {
		left, open := g.enter()
		if left <= 0 {
			return nil
		}
		select {
		case <-time.After(left):
		case <-open:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Enter reports whether a call may begin now.
func (g *Gate) Enter() bool {
	left, _ := g.enter()
	return left <= 0
}

// enter lets a call through, or says how long the next one has to wait. One that hangs does not
// keep the others: the next begins after another pause.
func (g *Gate) enter() (left time.Duration, open <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pause == 0 {
		return 0, nil
	}
	if left = time.Until(g.due); left > 0 {
		return left, g.open
	}
	g.due, g.tried = time.Now().Add(Jitter(g.pause)), true
	return 0, nil
}

// Failed says that a call failed at once. Calls that began together count as one.
func (g *Gate) Failed(most time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.pause == 0:
		g.open = make(chan struct{})
	case !g.tried:
		return
	}
	g.pause, g.tried = Next(g.pause, most), false
	g.due = time.Now().Add(Jitter(g.pause))
}

// Answered says that a call was answered.
func (g *Gate) Answered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pause > 0 {
		g.pause, g.tried = 0, false
		close(g.open)
	}
}
