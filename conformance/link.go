package conformance

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A link is one process's way to the store. The suite is the network: it loses and delays
// requests and replies, and lets requests arrive after their caller gave up. It does so for every
// store alike.
type link struct {
	lock.Locker
	t      *trial
	client *Client

	mu      sync.Mutex
	weather weather
	passed  time.Time        // when the one beat began that passed in the weather last
	unsure  []lock.SessionID // of registrations with an unknown outcome
	again   []lock.SessionID // of these, those that were used again
	changed chan struct{}    // closed when the weather changes
	running sync.WaitGroup
}

// The weather is what a link does to messages. Zero: nothing.
type weather struct {
	cut   bool          // nothing passes, either way
	mute  bool          // requests pass, replies do not
	deaf  bool          // the replies to beats are lost
	last  bool          // one more beat passes, and nothing after it
	late  time.Duration // every reply takes this much longer
	lag   time.Duration // every standing comes this much later
	rough *rand.Rand    // randomly loses, delays and sends late
	worst time.Duration // the longest random delay

	spoil  func(c *Client) error // what the harness does to the real network
	passes bool                  // and requests get through it
}

var errNoReply = errors.New("no reply")

func (t *trial) link() *link {
	c := t.open()
	l := &link{Locker: c, client: c, t: t, changed: make(chan struct{})}
	t.after(l.running.Wait)
	return l
}

// set changes the weather at once.
func (l *link) set(w weather) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	switch {
	case w.spoil != nil:
		err = w.spoil(l.client)
	case l.weather.spoil != nil:
		err = l.client.Heal()
	}
	if err != nil {
		l.t.errorf("spoil the network: %v", err)
	}
	l.weather = w
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) now() (weather, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.weather, l.changed
}

// chance is true once in n, in rough weather.
func (l *link) chance(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.weather.rough != nil && l.weather.rough.IntN(n) == 0
}

// delay is how long a message takes.
func (l *link) delay() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.weather.rough == nil || l.weather.rough.IntN(4) != 0 { // now and then
		return 0
	}
	return time.Duration(l.weather.rough.Int64N(int64(l.weather.worst)))
}

// pass makes one call over the link.
func (l *link) pass(ctx context.Context, call func(context.Context) error) error {
	never := func() error {
		<-ctx.Done()
		return errors.Join(errNoReply, ctx.Err())
	}
	if w, _ := l.now(); w.cut || w.last || !l.wait(ctx, l.delay()) || l.chance(12) {
		return never()
	}
	if l.chance(15) { // it arrives when the caller has given up
		w, _ := l.now()
		l.running.Go(func() {
			l.wait(l.t.ctx, 2*w.worst)
			_ = l.t.one(call)
		})
		return never()
	}
	err := call(ctx)
	if w, _ := l.now(); w.cut || w.mute || !l.wait(ctx, w.late+l.delay()) || l.chance(12) {
		return never()
	}
	return err
}

// takes reports whether a beat is the last one that passes.
func (l *link) takes() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.weather.last || !l.passed.IsZero() {
		return false
	}
	l.passed = time.Now()
	return true
}

func (l *link) passedAt() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed
}

// wait waits for d, and reports whether that was within ctx.
func (l *link) wait(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Register registers over the link; the session's calls take it too.
func (l *link) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	l.mu.Lock()
	if slices.Contains(l.unsure, c.Session) {
		l.again = append(l.again, c.Session)
	}
	l.mu.Unlock()
	var mu sync.Mutex
	var s lock.Session
	err := l.pass(ctx, func(ctx context.Context) error {
		made, err := l.Locker.Register(ctx, c, p, bids...)
		mu.Lock()
		defer mu.Unlock()
		s = made
		return err
	})
	if !isKnown(err) {
		l.mu.Lock()
		l.unsure = append(l.unsure, c.Session)
		l.mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		return nil, err
	}
	return &linked{s, l}, nil
}

// Watch shows nothing while the link is cut, and breaks then.
func (l *link) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		for st, err := range l.Locker.Watch(ctx, roles...) {
			if w, changed := l.now(); w.cut || w.mute || w.last { // messages in flight are lost
				select {
				case <-changed:
				case <-ctx.Done():
				}
				return
			}
			w, _ := l.now()
			l.wait(ctx, w.lag+l.delay())
			if !yield(st, err) || l.chance(40) { // now and then the watch breaks
				return
			}
		}
	}
}

// Evict evicts over the link.
func (l *link) Evict(ctx context.Context, id lock.SessionID, seen lock.Beat, why lock.End) error {
	return l.pass(ctx, func(ctx context.Context) error { return l.Locker.Evict(ctx, id, seen, why) })
}

// A linked is a session whose calls take a link.
type linked struct {
	lock.Session
	l *link
}

func (s *linked) Beat(ctx context.Context, bids ...lock.Bid) error {
	if s.l.takes() {
		err := s.Session.Beat(ctx, bids...)
		if w, _ := s.l.now(); s.l.wait(ctx, w.late) {
			return err
		}
		return errors.Join(errNoReply, ctx.Err())
	}
	err := s.l.pass(ctx, func(ctx context.Context) error { return s.Session.Beat(ctx, bids...) })
	if w, _ := s.l.now(); w.deaf {
		<-ctx.Done()
		return errors.Join(errNoReply, ctx.Err())
	}
	return err
}

func (s *linked) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	tokens := make(chan lock.Token, 1)
	err := s.l.pass(ctx, func(ctx context.Context) error {
		token, err := s.Session.TryAcquire(ctx, role)
		tokens <- token
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-tokens, nil
}

func (s *linked) Release(ctx context.Context, role string, token lock.Token) error {
	return s.l.pass(ctx, func(ctx context.Context) error { return s.Session.Release(ctx, role, token) })
}

func (s *linked) Handoff(ctx context.Context, role string, token lock.Token, to lock.SessionID) error {
	return s.l.pass(ctx, func(ctx context.Context) error { return s.Session.Handoff(ctx, role, token, to) })
}

func (s *linked) Close(ctx context.Context) error { return s.l.pass(ctx, s.Session.Close) }
