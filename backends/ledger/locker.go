package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/late"
	"github.com/understudy-ha/understudy/lock"
)

// A Store keeps a ledger. It is safe for concurrent use.
type Store interface {
	// Propose applies c once, linearizably, and returns its result with the
	// revision. An error means that the outcome is unknown, unless it wraps
	// lock.ErrPermanent.
	Propose(ctx context.Context, c Command) (Result, error)

	// Look returns the ledger's view of the named roles, or of all if none is named, as soon as
	// it is after the mark.
	Look(ctx context.Context, after Mark, roles ...string) (View, error)

	// Close ends every call. It may be repeated.
	Close() error
}

// NewLocker returns the Locker of s, which it closes.
func NewLocker(s Store) lock.Locker {
	return &locker{store: s, name: rand.Text(), closed: make(chan struct{}), changed: map[string]uint64{}}
}

type locker struct {
	store  Store
	name   string // of the ledger, if it has none when we first write
	once   sync.Once
	closed chan struct{}

	mu      sync.Mutex
	acked   Mark              // the ledger that we hold to, and its greatest revision that any of our calls got
	changed map[string]uint64 // by role, the revision at which a call of ours last changed its standing; "": any role
}

var (
	_ lock.Locker = (*locker)(nil)

	errClosed = errors.New("the locker is closed")
)

// Register checks the contender's size itself: the state machine has taken what is longer, and is to read it alike.
func (l *locker) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	if err := lock.CheckContender(c); err != nil {
		return nil, err
	}
	if _, err := l.propose(ctx, Command{Op: Register, Contender: c, Promise: p, Bids: bids}); err != nil {
		return nil, err
	}
	return &session{locker: l, contender: c}, nil
}

// Watch never shows anything older than what this Locker has had acknowledged. After it found
// another ledger it waits until that changes, or yet another is there; after an error it shows
// every role again.
func (l *locker) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		shown, began := map[string]lock.Standing{}, time.Now()
		var seen Mark
		failed := false
		for {
			after := seen
			if failed { // show the standings again, even unchanged
				after.Revision = max(after.Revision, 1) - 1
			}
			v, err := l.look(ctx, l.after(after), shown, roles...)
			if ctx.Err() != nil {
				if seen.Revision == 0 {
					yield(lock.Standing{}, fmt.Errorf("watch: %w", silence(cmp.Or(err, context.Cause(ctx)), began)))
				}
				return
			}
			if failed = err != nil; !failed {
				seen = v.Mark()
				err = l.accept(v)
			}
			if l.over() {
				yield(lock.Standing{}, fmt.Errorf("watch: %w", errClosed))
				return
			}
			if err != nil {
				clear(shown) // the end of the trouble is news, too
				if !yield(lock.Standing{}, fmt.Errorf("watch: %w", err)) {
					return
				}
				continue
			}
			for _, st := range v.Standings {
				st.Store = v.Identity
				if l.late(v, st.Role) || reflect.DeepEqual(shown[st.Role], st) {
					continue
				}
				shown[st.Role] = st
				if st.Term.Token == 0 && len(st.Line) == 0 && st.Pause.IsZero() {
					delete(shown, st.Role) // the role is gone
				}
				if !yield(st, nil) {
					return
				}
			}
		}
	}
}

// look is the store's Look, for a watch that has shown some roles. The result has those once more
// that are gone: that is a change, too. None is gone that is asked for by name.
func (l *locker) look(ctx context.Context, after Mark, shown map[string]lock.Standing, roles ...string) (View, error) {
	v, err := l.store.Look(ctx, after, roles...)
	if err != nil {
		return v, err
	}
	gone := maps.Clone(shown)
	for _, st := range v.Standings {
		delete(gone, st.Role)
	}
	if len(gone) == 0 {
		return v, nil
	}
	last, err := l.store.Look(ctx, Mark{}, slices.Collect(maps.Keys(gone))...)
	v.Standings = append(v.Standings, last.Standings...)
	return v, err
}

func (l *locker) Evict(ctx context.Context, id lock.SessionID, seen lock.Beat, why lock.End) error {
	_, err := l.propose(ctx, Command{Op: Evict, Session: id, Seen: seen, End: why})
	return err
}

func (l *locker) Ask(ctx context.Context, role string, r lock.Request) error {
	_, err := l.propose(ctx, Command{Op: Ask, Role: role, Request: r})
	return err
}

func (l *locker) Raise(ctx context.Context, above lock.Token) error {
	_, err := l.propose(ctx, Command{Op: Raise, Token: above})
	return err
}

func (l *locker) Adopt(ctx context.Context, identity string) error {
	_, err := l.propose(ctx, Command{Op: Adopt, Adopt: identity, Name: l.name})
	return err
}

func (l *locker) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.store.Close()
}

func (l *locker) over() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// naming are the operations that can be the first to write to a ledger, beside Adopt.
var naming = []Op{Register, Evict, Raise, Pause, Configure, Record, Restore}

// propose makes one call of the contract.
func (l *locker) propose(ctx context.Context, c Command) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	c.At = time.Now().UTC().Truncate(time.Millisecond)
	if c.Op != Adopt {
		l.mu.Lock()
		c.Identity = l.acked.Identity
		l.mu.Unlock()
		if slices.Contains(naming, c.Op) {
			c.Name = l.name
		}
	}
	if err := c.Check(); err != nil {
		return Result{}, err
	}
	began := time.Now()
	r, err := l.store.Propose(ctx, c)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", c.Op, silence(err, began))
	}
	if r.Code != OtherStore {
		l.hold(c.Identity, Mark{r.Identity, r.Revision, r.Epoch})
	}
	if r.Changed {
		l.change(c.Role, r)
	}
	return r, r.Err()
}

// silence says for how long the store gave no answer, since began, if the error says nothing else.
func silence(err error, began time.Time) error {
	if late.Alone(err) {
		return late.Error(err, "the store gave no answer within %s", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// accept holds to v's ledger, or returns an error if that is another one.
func (l *locker) accept(v View) error {
	l.mu.Lock()
	seen := l.acked.Identity
	l.mu.Unlock()
	if seen != "" && !v.Is(seen) {
		return &lock.OtherStoreError{Seen: seen, Found: v.Identity}
	}
	l.hold(seen, Mark{Identity: v.Identity, Epoch: v.Epoch})
	return nil
}

// hold notes that a ledger which accepts us under seen has acknowledged m. A Locker holds to an
// adopted ledger by its own identity from then on. Once a ledger was put back, nothing from before counts.
func (l *locker) hold(seen string, m Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch same := m.Identity == l.acked.Identity; {
	case same && m.Epoch < l.acked.Epoch:
	case same && m.Epoch == l.acked.Epoch:
		l.acked.Revision = max(l.acked.Revision, m.Revision)
	case same || l.acked.Identity == seen:
		l.acked, l.changed = m, map[string]uint64{}
	}
}

// change notes that a call of ours changed a role's standing.
func (l *locker) change(role string, r Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Identity == l.acked.Identity && r.Epoch == l.acked.Epoch {
		l.changed[role] = max(l.changed[role], r.Revision)
	}
}

// late reports whether v is older than such a change, made while we looked. The change is then
// still to come.
func (l *locker) late(v View, role string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch same := v.Identity == l.acked.Identity; {
	case same && v.Epoch < l.acked.Epoch:
		return true
	case same && v.Epoch > l.acked.Epoch:
		return false
	}
	return v.Revision < max(l.changed[role], l.changed[""])
}

// after is where to look on from: the latest that was seen or acknowledged.
func (l *locker) after(seen Mark) Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	acked := Mark{l.acked.Identity, max(l.acked.Revision, 1) - 1, l.acked.Epoch}
	switch same := seen.Identity == "" || seen.Identity == acked.Identity; {
	case !same || seen.Epoch > acked.Epoch:
		return seen
	case seen.Epoch == acked.Epoch:
		acked.Revision = max(seen.Revision, acked.Revision)
	}
	return acked
}

type session struct {
	locker    *locker
	contender lock.Contender
}

var _ lock.Session = (*session)(nil)

func (s *session) ID() lock.SessionID { return s.contender.Session }

func (s *session) Beat(ctx context.Context, bids ...lock.Bid) error {
	_, err := s.propose(ctx, Command{Op: Beat, Bids: bids})
	return err
}

func (s *session) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	if err := lock.CheckName("role", role); err != nil {
		return 0, err
	}
	v, err := s.locker.store.Look(ctx, s.locker.after(Mark{}), role)
	if err != nil {
		return 0, fmt.Errorf("acquire: %w", err)
	}
	r, err := s.propose(ctx, Command{Op: Acquire, Role: role, Token: v.Standings[0].Term.Token})
	return r.Token, err
}

func (s *session) Release(ctx context.Context, role string, t lock.Token) error {
	_, err := s.propose(ctx, Command{Op: Release, Role: role, Token: t})
	return err
}

func (s *session) Handoff(ctx context.Context, role string, t lock.Token, to lock.SessionID) error {
	_, err := s.propose(ctx, Command{Op: Handoff, Role: role, Token: t, To: to})
	return err
}

func (s *session) Close(ctx context.Context) error {
	_, err := s.propose(ctx, Command{Op: Close, End: lock.End{By: s.contender.ID, Why: "closed"}})
	return err
}

func (s *session) propose(ctx context.Context, c Command) (Result, error) {
	c.Session = s.contender.Session
	return s.locker.propose(ctx, c)
}
