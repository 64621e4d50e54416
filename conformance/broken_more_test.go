package conformance

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// twoCommits releases, and has the successor acquire.
func twoCommits() mistake {
	var mu sync.Mutex
	sessions := map[lock.SessionID]lock.Session{}
	return mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, session: func(s lock.Session) lock.Session {
			mu.Lock()
			defer mu.Unlock()
			sessions[s.ID()] = s
			return &handing{s, func(id lock.SessionID) lock.Session {
				mu.Lock()
				defer mu.Unlock()
				return sessions[id]
			}}
		}}
	}}
}

type handing struct {
	lock.Session
	find func(id lock.SessionID) lock.Session
}

func (h *handing) Handoff(ctx context.Context, role string, t lock.Token, to lock.SessionID) error {
	if err := h.Release(ctx, role, t); err != nil {
		return err
	}
	time.Sleep(time.Millisecond) // the mistake: others come between
	_, err := h.find(to).TryAcquire(ctx, role)
	return err
}

// A caching Locker begins every watch with the first thing that it ever showed.
type caching struct {
	lock.Locker
	mu    sync.Mutex
	first map[string]lock.Standing
}

func (c *caching) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		for _, role := range roles {
			c.mu.Lock()
			st, known := c.first[role]
			c.mu.Unlock()
			if known && !yield(st, nil) {
				return
			}
		}
		for st, err := range c.Locker.Watch(ctx, roles...) {
			c.mu.Lock()
			if _, known := c.first[st.Role]; !known && err == nil {
				c.first[st.Role] = st
			}
			c.mu.Unlock()
			if !yield(st, err) {
				return
			}
		}
	}
}

// oneAtATime lets one consumer at a time have a standing.
func oneAtATime() mistake {
	return mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		turn := make(chan struct{}, 1)
		return &brokenLocker{Locker: l, watch: func(ctx context.Context, in iter.Seq2[lock.Standing, error], yield func(lock.Standing, error) bool) {
			for st, err := range in {
				select {
				case turn <- struct{}{}:
				case <-ctx.Done():
					return
				}
				more := yield(st, err)
				<-turn
				if !more {
					return
				}
			}
		}}
	}}
}

// A lingering Locker's watches look at their context now and then.
type lingering struct{ lock.Locker }

func (l *lingering) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		for ctx.Err() == nil {
			some, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			for st, err := range l.Locker.Watch(some, roles...) {
				if !yield(st, err) {
					cancel()
					return
				}
			}
			cancel()
		}
	}
}

type unclosed struct{ lock.Locker }

func (u *unclosed) Close() error { return nil }

// An ending Locker ends its sessions when it closes.
type ending struct {
	lock.Locker
	mu       sync.Mutex
	sessions []lock.Session
}

func (e *ending) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	s, err := e.Locker.Register(ctx, c, p, bids...)
	if err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.sessions = append(e.sessions, s)
	}
	return s, err
}

func (e *ending) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, s := range e.sessions {
		_ = s.Close(ctx)
	}
	return e.Locker.Close()
}

// A polite Locker says goodbye to its store, and waits for the answer.
type polite struct {
	lock.Locker
	once sync.Once
}

func (p *polite) Close() error {
	p.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = p.Raise(ctx, 0)
	})
	return p.Locker.Close()
}

// A renewing Locker beats for its sessions until it is closed.
type renewing struct {
	lock.Locker
	every  time.Duration
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

func newRenewing(l lock.Locker, every time.Duration) lock.Locker {
	r := &renewing{Locker: l, every: every}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func (r *renewing) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	s, err := r.Locker.Register(ctx, c, p, bids...)
	if err == nil {
		r.group.Go(func() {
			for {
				select {
				case <-time.After(r.every):
					_ = s.Beat(r.ctx)
				case <-r.ctx.Done():
					return
				}
			}
		})
	}
	return s, err
}

func (r *renewing) Close() error {
	r.cancel()
	r.group.Wait()
	return r.Locker.Close()
}

// A lenient Locker takes any name, and makes a good one of it.
type lenient struct{ lock.Locker }

func (l *lenient) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	if lock.CheckName("id", c.ID) != nil {
		c.ID = "unnamed"
	}
	return l.Locker.Register(ctx, c, p, bids...)
}

// overwriting takes a foreign value for none.
func overwriting(s *shelf, l lock.Locker) lock.Locker {
	return &brokenLocker{Locker: l, session: func(one lock.Session) lock.Session { return &owner{one, s} }}
}

type owner struct {
	lock.Session
	s *shelf
}

func (o *owner) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	_ = o.s.change(func() { o.s.foreign[role] = false })
	return o.Session.TryAcquire(ctx, role)
}
