package conformance

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// inLocker are mistakes around calls and watches.
var inLocker = []planted{
	{"a timeout is success", "ContextObeyed", spoiled(func(err error) error {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return err
	})},
	{"a beat that timed out is success, and the active goes on", "RunNetworkCut", beating(func(ctx context.Context, s lock.Session) error {
		if err := s.Beat(ctx); isKnown(err) {
			return err
		}
		return nil
	})},
	{"a broken connection is ErrLost", "ContextObeyed", spoiled(func(err error) error {
		if !isKnown(err) {
			return lock.ErrLost
		}
		return err
	})},
	{"a beat after the loss is success", "BeatLost", beating(func(ctx context.Context, s lock.Session) error {
		if err := s.Beat(ctx); !errors.Is(err, lock.ErrLost) {
			return err
		}
		return nil
	})},
	{"a beat that finds an earlier try of itself done is success", "BeatReplyLost", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, session: func(s lock.Session) lock.Session { return &lazy{Session: s} }}
	}}},
	{"a context that is done already is not looked at", "ContextDone", beating(func(ctx context.Context, s lock.Session) error {
		return s.Beat(context.WithoutCancel(ctx), lock.Bid{Role: "nothing"})
	})},
	{"the session's calls end with the context of its registration", "AcquireFree", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, register: func(ctx context.Context, s lock.Session) lock.Session { return &bound{s, ctx} }}
	}}},
	{"a cancelled acquisition leaves a holder whom nobody knows", "AcquireCancelled", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, session: func(s lock.Session) lock.Session { return &residue{s, l} }}
	}}},
	{"a handoff is two commits", "HandoffOneCommit", twoCommits()},
	{"a watch ends in silence when its connection breaks", "WatchRestart", watching(func(_ context.Context, in iter.Seq2[lock.Standing, error], yield func(lock.Standing, error) bool) {
		for st, err := range in {
			if err != nil || !yield(st, nil) {
				return
			}
		}
	})},
	{"a watch waits for an index that is never reached again", "WatchRestart", watching(func(_ context.Context, in iter.Seq2[lock.Standing, error], yield func(lock.Standing, error) bool) {
		broken := false
		for st, err := range in {
			if broken = broken || err != nil; !broken && !yield(st, err) {
				return
			}
		}
	})},
	{"a watch drops what comes soon after another change", "WatchChanges", watching(func(_ context.Context, in iter.Seq2[lock.Standing, error], yield func(lock.Standing, error) bool) {
		var last time.Time
		for st, err := range in {
			if time.Since(last) < 10*time.Millisecond {
				continue
			}
			if last = time.Now(); !yield(st, err) {
				return
			}
		}
	})},
	{"a watch shows what it showed first", "WatchOwn", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		return &caching{Locker: l, first: map[string]lock.Standing{}}
	}}},
	{"a slow consumer holds up the others", "WatchSlow", oneAtATime()},
	{"a watch shows nothing while its Locker calls", "WatchBusy", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		b := &brokenLocker{Locker: l}
		var last atomic.Int64
		b.session = func(s lock.Session) lock.Session {
			return &erring{s, func(err error) error { last.Store(time.Now().UnixNano()); return err }}
		}
		b.watch = func(ctx context.Context, in iter.Seq2[lock.Standing, error], yield func(lock.Standing, error) bool) {
			for st, err := range in {
				for ctx.Err() == nil && time.Since(time.Unix(0, last.Load())) < 5*time.Millisecond {
					time.Sleep(time.Millisecond) // the mistake: it waits for quiet
				}
				if !yield(st, err) {
					return
				}
			}
		}
		return b
	}}},
	{"a watch of every role shows those of its beginning", "WatchAll", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, watch: func(_ context.Context, in iter.Seq2[lock.Standing, error], yield func(lock.Standing, error) bool) {
			var known []string
			begun := time.Now()
			for st, err := range in {
				if time.Since(begun) == 0 && len(known) < 2 {
					known = append(known, st.Role)
				}
				if slices.Contains(known, st.Role) && !yield(st, err) {
					return
				}
			}
		}}
	}}},
	{"a watch outlives its context", "WatchEnds", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker { return &lingering{l} }}},
	{"a watch that shows nothing keeps why to itself", "WatchUnreachable", watching(func(_ context.Context, in iter.Seq2[lock.Standing, error], yield func(lock.Standing, error) bool) {
		for st, err := range in {
			if err == nil && !yield(st, nil) {
				return
			}
		}
	})},
	{"a closed Locker goes on", "LockerClose", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker { return &unclosed{l} }}},
	{"a Locker ends its sessions when it closes", "LockerClose", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		b := &ending{Locker: l}
		return b
	}}},
	{"a Locker that cannot reach its store hangs when it closes", "LockerCloseCut", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker { return &polite{Locker: l} }}},
	{"a goroutine is left behind for each session", "NothingLeft", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker { return newRenewing(l, time.Hour) }}},
	{"a session is kept alive by the store's client", "RunCutOff", mistake{wrap: func(s *shelf, l lock.Locker) lock.Locker { return newRenewing(l, 50*time.Millisecond) }}},
	{"what is refused is done", "DecisionsRefused", decidingOver(func(err error) error {
		if errors.Is(err, lock.ErrPermanent) {
			return nil
		}
		return err
	})},
	{"a decision that timed out is made", "DecisionsContextObeyed", decidingOver(func(err error) error {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return err
	})},
	{"a decision that was given up is made", "DecisionsContextDone", decidingOver(func(err error) error {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})},
	{"any name will do", "NamesRefused", mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker { return &lenient{l} }}},
}

// A brokenLocker is one with a mistake in its sessions or its watches.
type brokenLocker struct {
	lock.Locker
	lock.Operator // set where one is asked for
	lock.Values   // as well
	session       func(s lock.Session) lock.Session
	register      func(ctx context.Context, s lock.Session) lock.Session
	watch         func(ctx context.Context, in iter.Seq2[lock.Standing, error], yield func(lock.Standing, error) bool)
}

func (b *brokenLocker) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	s, err := b.Locker.Register(ctx, c, p, bids...)
	if err == nil && b.session != nil {
		s = b.session(s)
	}
	if err == nil && b.register != nil {
		s = b.register(ctx, s)
	}
	return s, err
}

func (b *brokenLocker) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	in := b.Locker.Watch(ctx, roles...)
	if b.watch == nil {
		return in
	}
	return func(yield func(lock.Standing, error) bool) { b.watch(ctx, in, yield) }
}

// A deciding Locker is one with a mistake in what operators decide.
type deciding struct {
	lock.Locker
	lock.Operator
	wrong func(err error) error
}

func (d *deciding) Pause(ctx context.Context, role string, p lock.Pause) error {
	return d.wrong(d.Operator.Pause(ctx, role, p))
}

func (d *deciding) Record(ctx context.Context, role string, e lock.Event) error {
	return d.wrong(d.Operator.Record(ctx, role, e))
}

func decidingOver(wrong func(err error) error) mistake {
	return mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker { return &deciding{l, l.(lock.Operator), wrong} }}
}

func watching(f func(ctx context.Context, in iter.Seq2[lock.Standing, error], yield func(lock.Standing, error) bool)) mistake {
	return mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker { return &brokenLocker{Locker: l, watch: f} }}
}

// beating replaces Beat.
func beating(f func(ctx context.Context, s lock.Session) error) mistake {
	return mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, session: func(s lock.Session) lock.Session { return &beaten{s, f} }}
	}}
}

type beaten struct {
	lock.Session
	f func(ctx context.Context, s lock.Session) error
}

func (b *beaten) Beat(ctx context.Context, bids ...lock.Bid) error { return b.f(ctx, b.Session) }

// spoiled changes the errors of a session's calls.
func spoiled(f func(err error) error) mistake {
	return mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, session: func(s lock.Session) lock.Session { return &erring{s, f} }}
	}}
}

type erring struct {
	lock.Session
	f func(err error) error
}

func (e *erring) Beat(ctx context.Context, bids ...lock.Bid) error {
	return e.f(e.Session.Beat(ctx, bids...))
}

func (e *erring) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	token, err := e.Session.TryAcquire(ctx, role)
	return token, e.f(err)
}

// A lazy session takes an earlier try's write for that of the next.
type lazy struct {
	lock.Session
	mu     sync.Mutex
	unsure bool
}

func (z *lazy) Beat(ctx context.Context, bids ...lock.Bid) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.unsure {
		z.unsure = false
		return nil
	}
	err := z.Session.Beat(ctx, bids...)
	z.unsure = !isKnown(err)
	return err
}

type bound struct {
	lock.Session
	ctx context.Context
}

func (b *bound) TryAcquire(_ context.Context, role string) (lock.Token, error) {
	return b.Session.TryAcquire(b.ctx, role)
}

// A residue acquires under another name than its own when it is given up.
type residue struct {
	lock.Session
	l lock.Locker
}

func (r *residue) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	if ctx.Err() != nil {
		id := nonce()
		if s, err := r.l.Register(context.Background(), lock.Contender{ID: string(id), Session: id}, promiseOf(time.Second)); err == nil {
			_, _ = s.TryAcquire(context.Background(), role)
		}
	}
	return r.Session.TryAcquire(ctx, role)
}
