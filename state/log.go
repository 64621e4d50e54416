package state

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// A Log is one process's part in the replicated log of a role. It is safe for concurrent use.
type Log[M Machine] struct {
	values  lock.Values
	limits  lock.Limits
	role    string
	fresh   func() M
	options Options
	keys    keys

	turn sync.Mutex // held while the store is read and entries are applied: by the standby, or by a term that begins

	mu      sync.RWMutex
	replica replica[M]
	writer  *writer[M] // of the term whose work runs here; nil: none does

	aging atomic.Pointer[aging[M]] // replaced while mu is held; read by those who must not wait for the machine
}

// An aging is what says how old the replica may be, at any moment.
type aging[M Machine] struct {
	knows  bool // everything that there was when it was seen
	seen   coordinator.Instant
	writer *writer[M]
}

// A replica is what this process knows of the state.
type replica[M Machine] struct {
	machine M
	at      uint64    // the position that was applied last
	link    string    // the nonce of that entry
	skip    []Command // that were skipped, or will be
	head    head      // as it was read, or written, last
	raw     []byte    // that record; nil: there is none
	loaded  bool      // it has once known everything
	seen    coordinator.Instant
	broken  error // the machine panicked, and is not used any more
}

// Open returns the log of a role. locker must be a lock.Values: see lock.ValueStores. fresh makes a
// machine without any state; it is called whenever the log is read from its beginning. Open asks
// the store for its limits, and reads nothing else.
func Open[M Machine](ctx context.Context, locker lock.Locker, role string, fresh func() M, o Options) (*Log[M], error) {
	o = o.defaults()
	l := &Log[M]{role: role, fresh: fresh, options: o, keys: keysOf(role)}
	err := errors.Join(lock.CheckName("role", role), o.validate())
	if longest := l.keys.chunk(0, 0); len(longest) > lock.MaxName {
		err = errors.Join(err, lock.Permanent(fmt.Errorf("role %q: a key of its log would have %d bytes, the limit is %d: use a shorter name", role, len(longest), lock.MaxName)))
	}
	values, ok := locker.(lock.Values)
	if !ok {
		err = errors.Join(err, lock.Permanent(fmt.Errorf("this store keeps no values, and a log is made of them: use one of %s; a Locker that wraps one of these must pass their values on", lock.ValueStores)))
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	l.values = values
	l.limits, err = values.Limits(ctx)
	l.limits.Write = min(l.limits.Write, 256<<10) // many of them are read at once
	l.limits.Keys = min(l.limits.Keys, 16)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	l.replica.machine = fresh()
	l.tellAge()
	return l, nil
}

// Read calls f with the machine, while nothing is applied. f must not change it, nor call the Log,
// nor keep what it sees beyond its return without copying it. age is how old what f saw may be, at
// most: everything that was acknowledged longer ago was there. Zero means that this process is
// active and that what f saw was linearizable: everything was there that was acknowledged before
// Read began. A standby may also show what the active has not acknowledged yet. An error means that
// there is nothing to show: f was not called.
func (l *Log[M]) Read(f func(M)) (age time.Duration, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.replica.broken != nil:
		return 0, l.replica.broken
	case !l.replica.loaded:
		return 0, ErrNotLoaded
	}
	f(l.replica.machine)
	return l.age(), nil
}

// tellAge notes what the age depends on. l.mu is held.
func (l *Log[M]) tellAge() {
	r := &l.replica
	l.aging.Store(&aging[M]{r.loaded && r.broken == nil, r.seen, l.writer})
}

// age is how old the replica may be. It is read after what it is about, and waits for nothing.
func (l *Log[M]) age() time.Duration {
	a := l.aging.Load()
	switch {
	case !a.knows:
		return math.MaxInt64
	case a.writer != nil && a.writer.fails() == nil && a.writer.term.Valid():
		return 0
	}
	return max(l.options.Now().Most(a.seen), 1)
}

// Lag is how old this process's state may be, at most: zero where it is active, the longest Duration where
// there is nothing to show yet. It is for coordinator.Config.Lag. Of another role than the log's it is
// negative.
func (l *Log[M]) Lag(role string) time.Duration {
	if role != l.role {
		return -1
	}
	return l.age()
}

// Ready reports whether this process's state is not older than Options.MaxLag, so that it can take
// over at once. It is for coordinator.Config.Ready. Of another role than the log's it is true.
func (l *Log[M]) Ready(role string) bool {
	return role != l.role || l.age() <= l.options.MaxLag
}

// Standby applies what others append, until ctx ends. It is for coordinator.Config.Standby. Of
// another role than the log's it returns at once. A store that does not answer does not end it. It
// fails where that cannot mend itself: with a *PanicError, or lock.ErrPermanent.
func (l *Log[M]) Standby(ctx context.Context, role string) error {
	if role != l.role {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	news, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		l.listen(ctx, news)
	}()
	defer func() { cancel(); <-ended }()
	for ctx.Err() == nil {
		all, err := l.step(ctx)
		wait := refresh
		switch {
		case ctx.Err() != nil:
			return nil
		case isFinal(err):
			return fmt.Errorf("state: %w", err)
		case err != nil:
			wait = retry
		case !all:
			continue
		}
		select {
		case <-news:
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return nil
}

// listen says that the head may have changed. What it has become is read, not heard.
func (l *Log[M]) listen(ctx context.Context, news chan<- struct{}) {
	for _, err := range l.values.Follow(ctx, l.keys.head()) {
		if err != nil {
			pause(ctx, retry)
		}
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

// isFinal reports whether an error does not mend itself.
func isFinal(err error) bool {
	var p *PanicError
	return errors.As(err, &p) || errors.Is(err, lock.ErrPermanent)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
