package kv

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A follower reads and follows the store for all watches of one Locker, while there are any. One
// goroutine reads everything under the prefix, publishes it and its changes, and reads again if a
// change does not tell all, on request, and once in a while: this shows the line's beats, and
// reveals a watch that died silently.
type follower struct {
	locker *locker
	stop   context.CancelFunc
	users  int           // watches; under the locker's mutex
	wake   chan struct{} // of size one: a read was asked for

	mu      sync.Mutex
	asked   uint64                    // how many reads were requested
	acks    map[string]map[string]ack // by role, "" for all of them, and key
	last    news                      // the last published
	changed chan struct{}             // closed and replaced when news are published
}

// News are what a follower publishes.
type news struct {
	number    uint64 // of the news: 1, 2, ...
	answered  uint64 // the number of the last request before this read
	picture   *picture
	standings map[string]*lock.Standing // unchanged ones are the same as before
	err       error                     // why there is nothing newer; nil: all is well
}

// Limits of how often everything is read, and the pauses. There is one after each failure, so
// that a dead store does not cause a busy loop.
const (
	oftenest   = 100 * time.Millisecond
	seldomest  = 10 * time.Second
	whileEmpty = time.Second

	failurePause = 100 * time.Millisecond
	notYet       = 50 * time.Millisecond // between a session's absence and the reading that confirms it
)

// join returns the follower of the locker, the number of the first read whose news may be shown,
// and what ends its use.
func (l *locker) join() (f *follower, from uint64, leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f = l.follower; f != nil {
		from = f.ask()
	} else {
		ctx, stop := context.WithCancel(l.open)
		f = &follower{locker: l, stop: stop, wake: make(chan struct{}, 1), acks: map[string]map[string]ack{}, changed: make(chan struct{})}
		l.follower = f
		from = f.ask() // the first read answers it
		if started := f; l.open.Err() == nil {
			l.group.Go(func() { started.run(ctx) })
		}
	}
	f.users++
	return f, from, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if f.users--; f.users == 0 {
			f.stop()
			l.follower = nil
			l.read = f.shown()
		}
	}
}

// ask asks for a read that begins after now, and returns its number.
func (f *follower) ask() uint64 {
	f.mu.Lock()
	f.asked++
	asked := f.asked
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return asked
}

// next returns the news after number, as soon as there are any.
func (f *follower) next(ctx context.Context, number uint64) (news, error) {
	for {
		f.mu.Lock()
		n, changed := f.last, f.changed
		f.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return news{}, ctx.Err()
		case f.locker.open.Err() != nil:
			return news{}, errClosed
		case n.number > number:
			return n, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-f.locker.open.Done():
		}
	}
}

func (f *follower) run(ctx context.Context) {
	var now *picture
	var s *stream
	timed, rest := false, failurePause
	for ctx.Err() == nil {
		p, err := f.read(ctx)
		if err == nil {
			if s != nil && (p.view.Revision < now.view.Revision || timed && now.missed(p)) {
				s.end()
				s = nil
			}
			now, timed, err = f.attend(ctx, &s, p)
		}
		if err == nil {
			rest = failurePause
			continue
		}
		s.end()
		s = nil
		if ctx.Err() == nil {
			f.publish(news{err: err}, nil)
			pause(ctx, rest)
			rest = min(2*rest, longestPause(now))
		}
	}
}

// longestPause is the longest pause between two tries of a store that fails.
func longestPause(now *picture) time.Duration {
	if now == nil || now.shortest() == 0 {
		return whileEmpty
	}
	return min(max(now.shortest()/10, failurePause), whileEmpty)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// attend publishes incoming changes until everything must be read again; timed: because the last
// reading was long ago. It returns what it published last. A stream that does not cover a holder
// is replaced by a new one, which starts from the last reading and so misses nothing either.
func (f *follower) attend(ctx context.Context, s **stream, p *picture) (last *picture, timed bool, err error) {
	f.mu.Lock()
	answered := f.last.answered
	f.mu.Unlock()
	timer := time.NewTimer(interval(p))
	defer timer.Stop()
	var soon <-chan time.Time
	for {
		if keys := p.followed(); !(*s).covers(keys) {
			(*s).end()
			*s = f.stream(ctx, p.view, keys)
		}
		select {
		case <-ctx.Done():
			return p, false, ctx.Err()
		case <-timer.C:
			return p, true, nil
		case <-f.wake:
			return p, false, nil
		case err := <-(*s).failed:
			return p, false, err
		case <-soon:
			return p, false, nil
		case changes := <-(*s).changes:
			next, touched, absent := p.applyAll(changes)
			if absent {
				soon = time.After(notYet)
			}
			switch {
			case next == nil:
				return p, false, nil
			case next != p:
				p = next
				f.publish(news{answered: answered, picture: p}, touched)
			}
		}
	}
}

// picture is what the watches of this Locker were shown last; nil: there are none, or they may
// have missed something.
func (l *locker) picture() *picture {
	l.mu.Lock()
	f := l.follower
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last.err != nil {
		return nil
	}
	return f.last.picture
}

// remembered is what this Locker's watches were shown last, however long ago; nil: nothing.
func (l *locker) remembered() *picture {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.follower != nil {
		return l.follower.shown()
	}
	return l.read
}

// shown is what was published last.
func (f *follower) shown() *picture {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last.picture
}

// interval is the time between two readings of everything: less than the shortest promise;
// otherwise the beats of the line would seem to have stopped.
func interval(p *picture) time.Duration {
	ttl := p.shortest()
	if ttl == 0 {
		return whileEmpty
	}
	return min(max(ttl*3/4, oftenest), seldomest)
}

// publish makes n the last news. It computes the standings of the touched roles only, or of all
// roles if n comes from a reading. A failure leaves the picture as it was.
func (f *follower) publish(n news, touched map[string]bool) {
	f.mu.Lock()
	last := f.last
	f.mu.Unlock() // only this goroutine publishes
	n.number = last.number + 1
	switch {
	case n.err != nil:
		n.answered, n.picture, n.standings = last.answered, last.picture, last.standings
	case touched != nil:
		n.standings = maps.Clone(last.standings)
	default:
		n.standings, touched = map[string]*lock.Standing{}, n.picture.names()
	}
	for role := range touched {
		st := n.picture.standing(role)
		if old := last.standings[role]; old != nil && reflect.DeepEqual(*old, st) {
			n.standings[role] = old
		} else {
			n.standings[role] = &st
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = n
	close(f.changed)
	f.changed = make(chan struct{})
}

// A stream is one running Follow.
type stream struct {
	keys    []string
	changes chan []Record
	failed  chan error // of size one
	cancel  context.CancelFunc
}

func (f *follower) stream(ctx context.Context, since View, keys []string) *stream {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{keys: keys, changes: make(chan []Record), failed: make(chan error, 1), cancel: cancel}
	f.locker.background(func(context.Context) {
		for changes, err := range f.locker.bare.Follow(ctx, since, keys...) {
			if err != nil {
				s.failed <- err
				return
			}
			select {
			case s.changes <- changes:
			case <-ctx.Done():
			}
		}
		s.failed <- errors.New("the store's watch ended")
	})
	return s
}

// covers reports whether all of the keys are followed.
func (s *stream) covers(keys []string) bool {
	return s != nil && !slices.ContainsFunc(keys, func(key string) bool { return !slices.Contains(s.keys, key) })
}

func (s *stream) end() {
	if s != nil {
		s.cancel()
	}
}
