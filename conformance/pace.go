package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A pace measures how late this process and the store currently are, so that a busy machine is
// not taken for a slow store. It beats for a session of its own.
type pace struct {
	mu    sync.Mutex
	lates []late
}

// A late is how late this process and the store were at one moment.
type late struct {
	at            time.Time
	process, trip time.Duration
}

// roundTrips is how many round trips a takeover has, one after the other, with a few to spare:
// evict, hear of it, acquire.
const roundTrips = 8

// measured begins to measure, if time is real, and returns what ends it.
func (s *Suite) measured() (end func()) {
	if s.Virtual {
		return func() {}
	}
	p := &pace{}
	s.pace = p
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx, s.New)
	}()
	return func() { cancel(); <-done }
}

// run measures until ctx is done. Failures are for the cases to judge.
func (p *pace) run(ctx context.Context, open func(ctx context.Context) (*Store, error)) {
	store, err := open(ctx)
	if err != nil {
		return
	}
	if store.Close != nil {
		defer func() { _ = store.Close() }()
	}
	c, err := store.Open(ctx)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	var s lock.Session
	for ctx.Err() == nil {
		p.once(ctx, func(ctx context.Context) (err error) {
			if s == nil {
				id := nonce()
				s, err = c.Register(ctx, lock.Contender{ID: string(id), Session: id}, promiseOf(time.Minute))
				return err
			}
			if err = s.Beat(ctx); errors.Is(err, lock.ErrLost) { // a case did that to every session
				s = nil
			}
			return err
		})
	}
	if s != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.Close(ctx)
	}
}

// once measures how much longer than its time a pause took, and a call.
func (p *pace) once(ctx context.Context, call func(ctx context.Context) error) {
	const rest = 50 * time.Millisecond
	begun := time.Now()
	time.Sleep(rest) // the pause that is measured
	one := late{at: time.Now(), process: time.Since(begun) - rest}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if call(ctx) == nil {
		one.trip = time.Since(one.at)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lates = append(p.lates, one)
}

// worst is the most that this process and the store have been late since a moment.
func (p *pace) worst(since time.Time) (process, trip time.Duration) {
	if p == nil {
		return 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.lates {
		if one.at.After(since) {
			process, trip = max(process, one.process), max(trip, one.trip)
		}
	}
	return process, trip
}

// slack is how much later than due something may be seen that takes the store.
func (t *trial) slack() time.Duration {
	process, trip := t.pace.worst(t.begun)
	return t.Slack + roundTrips*max(process, trip+t.trip())
}

// hurry is how much later than due something may be seen that this process does by itself.
func (t *trial) hurry() time.Duration {
	process, _ := t.pace.worst(t.begun)
	return t.Slack/2 + 2*process
}
