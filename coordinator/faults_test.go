package coordinator

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A link is the way from one contender to the store: it loses and delays
// requests and replies, lets requests commit after their caller gave up, and can
// be cut.
type link struct {
	lock.Locker
	mu    sync.Mutex
	rand  *rand.Rand // nil: nothing is lost by chance
	delay time.Duration
	cut   atomic.Bool // nothing passes, either way
	mute  atomic.Bool // requests pass, replies do not
	wordy bool        // each failure has words of its own
	words atomic.Int64
	reads bool // a release and a close read before they write, as on a key-value store
}

var errLost = errors.New("lost on the way")

// pass makes one call over the link.
func (l *link) pass(ctx context.Context, call func(context.Context) error) error {
	if !l.wait(ctx) {
		return errLost
	}
	if l.cut.Load() {
		<-ctx.Done()
		if l.wordy {
			return fmt.Errorf("try %d: %w", l.words.Add(1), ctx.Err())
		}
		return ctx.Err()
	}
	if l.chance(20) { // commits when nobody waits any more
		go func(late time.Duration) {
			time.Sleep(late) // virtual time
			_ = call(context.Background())
		}(l.upTo(30 * time.Second))
		<-ctx.Done()
		return ctx.Err()
	}
	err := call(ctx)
	if !l.wait(ctx) || l.mute.Load() || l.cut.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// passRead is pass for a call that may read first: without the reply to that it
// writes nothing.
func (l *link) passRead(ctx context.Context, call func(context.Context) error) error {
	if l.reads && l.mute.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.pass(ctx, call)
}

// wait delays a message, and reports whether it arrives.
func (l *link) wait(ctx context.Context) bool {
	if l.rand == nil {
		return true
	}
	select {
	case <-time.After(l.upTo(l.delay)):
	case <-ctx.Done():
		return false
	}
	return !l.chance(8)
}

// chance is true once in n.
func (l *link) chance(n int) bool { return l.rand != nil && l.upTo(time.Duration(n)) == 0 }

func (l *link) upTo(d time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.rand.Int64N(int64(d)))
}

func (l *link) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	var s lock.Session
	err := l.pass(ctx, func(ctx context.Context) (err error) { s, err = l.Locker.Register(ctx, c, p, bids...); return err })
	if err != nil {
		return nil, err
	}
	return &linked{s, l}, nil
}

func (l *link) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		for st, err := range l.Locker.Watch(ctx, roles...) {
			for l.cut.Load() || l.mute.Load() {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
					return
				}
			}
			if l.rand != nil {
				time.Sleep(l.upTo(l.delay)) // virtual time
			}
			if !yield(st, err) || l.chance(50) { // sometimes the watch breaks
				return
			}
		}
	}
}

func (l *link) Evict(ctx context.Context, id lock.SessionID, seen lock.Beat, why lock.End) error {
	return l.pass(ctx, func(ctx context.Context) error { return l.Locker.Evict(ctx, id, seen, why) })
}

type linked struct {
	lock.Session
	l *link
}

func (s *linked) Beat(ctx context.Context, bids ...lock.Bid) error {
	return s.l.pass(ctx, func(ctx context.Context) error { return s.Session.Beat(ctx, bids...) })
}

func (s *linked) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	var t lock.Token
	err := s.l.pass(ctx, func(ctx context.Context) (err error) { t, err = s.Session.TryAcquire(ctx, role); return err })
	if err != nil {
		return 0, err
	}
	return t, nil
}

func (s *linked) Release(ctx context.Context, role string, t lock.Token) error {
	return s.l.passRead(ctx, func(ctx context.Context) error { return s.Session.Release(ctx, role, t) })
}

func (s *linked) Handoff(ctx context.Context, role string, t lock.Token, to lock.SessionID) error {
	return s.l.pass(ctx, func(ctx context.Context) error { return s.Session.Handoff(ctx, role, t, to) })
}

func (s *linked) Close(ctx context.Context) error {
	return s.l.passRead(ctx, s.Session.Close)
}

// hanging is a logger that blocks as soon as somebody works, until release.
func hanging(release <-chan struct{}) *slog.Logger {
	return slog.New(&hangingHandler{Handler: quiet.Handler(), release: release})
}

type hangingHandler struct {
	slog.Handler
	release <-chan struct{}
}

func (h *hangingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *hangingHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "to" && a.Value.String() == string(Active) {
			<-h.release
		}
		return true
	})
	return nil
}
