// Package object makes a store of any place that keeps one value and replaces it only if it is
// still the one that was read: a row of a database, a file in a bucket, a key with a revision.
// The value holds a whole ledger, see package ledger; one group of contenders shares it.
//
// Every answer is one that a conditional write has confirmed, and never one that was only read:
// so a copy that is old misleads nobody for longer than a try. Only a role's history, which is for
// people, is read where nothing can be written. A watch shows what was read, and
// never again what is older than it has shown, unless a write has proven that the value was put
// back to that.
package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/backoff"
	"github.com/understudy-ha/understudy/internal/late"
	"github.com/understudy-ha/understudy/lock"
)

// An Object is the value, as one process reaches it. It is safe for concurrent use, and every call
// obeys its context within 100 ms. An error is lock.ErrPermanent where no try can succeed before
// somebody changes something; any other means that the outcome is unknown.
type Object interface {
	// Get returns the value as it is: never a copy that may be behind.
	Get(ctx context.Context) (Value, error)

	// Put replaces the value if its version is the one named, or writes the first one where that
	// is empty, and returns the new version. It is sent once: a Put that may have arrived is
	// not sent again. ErrConflict: another version is there, and nothing was written; the Value is
	// that one where the store tells it, and has no version where it does not.
	Put(ctx context.Context, data []byte, version string) (Value, error)

	// Changed returns when the version may not be the one named any more: with the Value that came
	// after it where the store tells it, without a version where it does not. It may return too
	// early, and need not notice everything: the value is read now and then all the same.
	Changed(ctx context.Context, version string) (Value, error)

	// Start returns a count that is greater than any that an earlier value in this place can have
	// come to, also where it was deleted by hand: by a clockwork of the store's own that nobody
	// turns back. Each command counts one. In a new era it is greater than any that a value of an
	// earlier one can have come to.
	Start(ctx context.Context) (uint64, error)

	// Close ends every call. It may be repeated.
	Close() error
}

// A Value is what an Object holds, with its version. No version: there is none.
type Value struct {
	Data    []byte
	Version string

	// Era is another one when the store may have lost what it had acknowledged: when a database went
	// on with a replica, say. No version of one era is equal to one of another. It is empty where
	// nothing is ever lost.
	Era string
}

// ErrConflict is what Put returns when the version is not the one named.
var ErrConflict = errors.New("another version is there")

// Open returns the Locker on an object of at most limit bytes, and closes it.
func Open(o Object, limit int) lock.Locker {
	s := &store{limit: limit, changed: make(chan struct{})}
	s.object = paced{o, s}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	l := ledger.NewLocker(s)
	return locker{l, l.(lock.Operator)}
}

// A locker keeps no values: every beat would write them again.
type locker struct {
	lock.Locker
	lock.Operator
}

var errClosed = errors.New("the locker is closed")

// A store is one process's way to the object.
type store struct {
	object Object
	limit  int
	ctx    context.Context // of all calls, until Close
	cancel context.CancelCauseFunc
	group  sync.WaitGroup // guarded by mu until Close
	follow sync.Once
	gate   backoff.Gate // of Get, Put and Start

	mu      sync.Mutex
	seen    sight
	watched bool          // the object was read once at least; what was only written may be old
	failed  error         // what the last read failed with; nil: it did not
	fails   int           // how many did
	refusal error         // what the last reading call failed with at once; nil: one was answered since
	refused error         // likewise of the writes
	changed chan struct{} // closed with every change of these
	waiting []*call       // for the next write
	busy    bool          // a write is on its way that others wait for
	trip    time.Duration // how long the last write took
	burst   burst
}

// A sight is what a store has seen of the object. Its ledger is never changed.
type sight struct {
	value  Value
	ledger *ledger.Ledger // nil: nothing was seen
	epoch  uint64         // see ledger.Mark
	top    ledger.Mark    // of the latest value that was there
}

func (s *store) sight() sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// absent is the ledger where there is no value: 0 is before everything.
func absent() *ledger.Ledger {
	l := ledger.New()
	l.Revision = 1
	return l
}

// A source is how a value became known.
type source int

const (
	read    source = iota
	written        // by us
	proven         // written by us, on what was older than what had been seen: so it is what stands
)

// take makes v what is known, unless it is older than what is. before is what was known when the
// call began that brought it. back: it is older, as a copy can be: only a write proves that the
// object was put back.
func (s *store) take(v Value, l *ledger.Ledger, before sight, from source) (back bool, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = s.watched || from == read
	now, there := &s.seen, v.Version != ""
	same := l.Identity == now.top.Identity
	switch {
	case !there && now.top != before.top: // it was written meanwhile
		return false, now.epoch
	case !there && now.value.Version == "" && now.ledger != nil:
		s.news(nil)
		return false, now.epoch
	case same && (from == proven || l.Revision == now.top.Revision && v.Version != now.value.Version): // the latter: somebody edited it
		now.epoch++
	case same && l.Revision < now.top.Revision:
		return l.Revision < before.top.Revision, now.epoch
	case now.top != (ledger.Mark{}) && there != (now.value.Version != ""):
		now.epoch++ // what is gone, and what comes back, is news whatever its revision
	}
	now.value, now.ledger = v, l
	if there {
		now.top = ledger.Mark{Identity: l.Identity, Revision: l.Revision}
	}
	s.news(nil)
	return false, now.epoch
}

// news wakes who looks. s.mu is held.
func (s *store) news(err error) {
	if s.failed = err; err != nil {
		s.fails++
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Look returns what the store sees, once that is after the mark, or why nothing is seen. While reads fail it shows
// nothing that was seen before: a watch shows everything again after an outage, and that is its end.
func (s *store) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	s.follow.Do(func() { s.spawn(s.watch) })
	fails := -1
	for {
		s.mu.Lock()
		now, changed, failed, watched := s.seen, s.changed, s.failed, s.watched
		if fails < 0 {
			fails = s.fails
		}
		news := s.fails != fails
		s.mu.Unlock()
		if l := now.ledger; watched && failed == nil && (ledger.View{Revision: l.Revision, Identity: l.Identity, Epoch: now.epoch}).After(after) {
			v := l.View(roles...)
			v.Epoch = now.epoch
			return v, nil
		}
		if failed != nil && news {
			return ledger.View{}, failed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ledger.View{}, s.late(ctx)
		case <-s.ctx.Done():
			return ledger.View{}, errClosed
		}
	}
}

// late is why a call ended that had no time left. What the last read or call failed with is told as a text: whether
// that is cured since is not known.
func (s *store) late(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return asked(fmt.Errorf("%w; the last read: %w", context.Cause(ctx), told(s.failed)), s.failed)
	}
	if last := cmp.Or(s.refused, s.refusal); last != nil {
		return asked(fmt.Errorf("%w; the last call: %w", context.Cause(ctx), told(last)), last)
	}
	return context.Cause(ctx)
}

// told keeps the words of an earlier error, and the setting that it names, but not its class: that may be cured by now.
func told(err error) error {
	f := (*lock.FieldError)(nil)
	if !errors.As(err, &f) {
		return errors.New(err.Error())
	}
	before, after, _ := strings.Cut(err.Error(), f.Error())
	return fmt.Errorf("%s%w%s", before, &lock.FieldError{Fields: f.Fields, Err: errors.New(f.Err.Error())}, after)
}

// asked is err, and a refusal where the last answer was one.
func asked(err, last error) error {
	if errors.Is(last, lock.ErrRefused) {
		return lock.Refusal(err)
	}
	return err
}

// spawn runs f until the store is closed, unless it is.
func (s *store) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil {
		s.group.Go(f)
	}
}

// Close ends every call.
func (s *store) Close() error {
	s.mu.Lock()
	s.cancel(errClosed)
	s.mu.Unlock()
	err := s.object.Close()
	s.group.Wait()
	return err
}

// How long a read may take at least, a pause before what was told of is read again, and how long nothing is
// read where nobody says how often: between two beats of the shortest ttl, something must have changed.
const (
	leastPatience = 250 * time.Millisecond
	readPause     = 20 * time.Millisecond
	idle          = time.Second
	longest       = 10 * time.Second
)

// watch keeps up with the object. What it waits for is bounded, so that news that are lost are
// found by reading. After what failed it rests, longer each time: Changed may fail for reasons of its
// own, while every Get is answered.
func (s *store) watch() {
	patience, told, rest := leastPatience, false, time.Duration(0)
	for s.ctx.Err() == nil {
		begun, before := time.Now(), s.sight().value.Version
		err := s.read(patience)
		if told && err == nil && s.sight().value.Version == before { // what it was told of is not there yet
			pause(s.ctx, readPause)
		}
		pace := s.pace()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			patience = min(2*patience, max(pace, leastPatience))
		case err == nil:
			patience = max(leastPatience, 3*time.Since(begun))
			told, err = s.waitChanged(pace)
		}
		if err == nil {
			rest = 0
			continue
		}
		rest = backoff.Next(rest, s.most())
		pause(s.ctx, backoff.Jitter(rest))
	}
}

// waitChanged takes what the store tells, and returns when the object is to be read: told, it may
// be another than what is known; else nothing was heard of it for as long as pace.
func (s *store) waitChanged(pace time.Duration) (told bool, err error) {
	for {
		before := s.sight()
		ctx, cancel := context.WithTimeout(s.ctx, pace)
		v, err := s.object.Changed(ctx, before.value.Version)
		late := ctx.Err() != nil
		cancel()
		switch {
		case late:
			return false, nil
		case err != nil:
			return false, err
		case v.Version != "":
			if back, err := s.saw(v, before); back || err != nil {
				return true, err
			}
		case s.sight().value.Version == before.value.Version: // what this store wrote itself is known
			return true, nil
		}
	}
}

// read reads the object once. A ledger that is older than it was is not believed until a write
// on it succeeds.
func (s *store) read(patience time.Duration) error {
	if err := s.gate.Wait(s.ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	before, begun := s.sight(), time.Now()
	v, err := s.object.Get(ctx)
	if late.Alone(err) {
		err = late.Error(err, "the store gave no answer within %s", time.Since(begun).Round(time.Millisecond))
	}
	back := false
	if err == nil {
		back, err = s.saw(v, before)
	}
	if back {
		_, err = s.Propose(ctx, ledger.Command{Op: ledger.Nothing})
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.news(err)
	}
	return err
}

// saw takes what was read: see take.
func (s *store) saw(v Value, before sight) (back bool, err error) {
	l := absent()
	if v.Version != "" {
		r, err := decode(v.Data)
		if err != nil {
			return false, err
		}
		l = r.Ledger
	}
	back, _ = s.take(v, l, before, read)
	return back, nil
}

// pace is how long nothing needs to be read: a quarter of the shortest ttl.
func (s *store) pace() time.Duration {
	now := s.sight()
	switch {
	case now.ledger == nil:
		return longest
	case len(now.ledger.Sessions) == 0:
		return idle
	}
	return min(max(now.shortest()/4, readPause), longest)
}

// shortest is the shortest ttl of all sessions; 0: there are none.
func (s sight) shortest() (ttl time.Duration) {
	if s.ledger == nil {
		return 0
	}
	for _, one := range s.ledger.Sessions {
		if ttl == 0 || one.Promise.TTL < ttl {
			ttl = one.Promise.TTL
		}
	}
	return ttl
}

// pause waits, unless ctx is done.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
