package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A Store keeps a ledger. It is safe for concurrent use.
type Store interface {
	// Propose applies c once, linearizably, and returns its result with the
	// revision. An error means that the outcome is unknown, unless it wraps
	// lock.ErrPermanent.
	Propose(ctx context.Context, c Command) (Result, error)

	// Look returns the standing of the named roles, or of all where none is
	// named, and the ledger's revision, as soon as that is greater than after.
	Look(ctx context.Context, after uint64, roles ...string) ([]lock.Standing, uint64, error)

	// Close ends every call. It may be repeated.
	Close() error
}

// NewLocker returns the Locker of s, which it closes.
func NewLocker(s Store) lock.Locker { return &locker{store: s} }

type locker struct {
	store Store
	acked atomic.Uint64 // the greatest revision that a call of ours had acknowledged
}

var _ lock.Locker = (*locker)(nil)

func (l *locker) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	errs := []error{lock.CheckName("id", c.ID), lock.CheckName("session", string(c.Session))}
	for _, b := range bids {
		errs = append(errs, lock.CheckName("role", b.Role))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if _, err := l.propose(ctx, Command{Op: Register, Contender: c, Promise: p, Bids: bids}); err != nil {
		return nil, err
	}
	return &session{locker: l, contender: c}, nil
}

func (l *locker) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		shown := map[string]lock.Standing{}
		var seen uint64
		for {
			// Never older than what this Locker has had acknowledged.
			after := max(seen, max(l.acked.Load(), 1)-1)
			standings, revision, err := l.store.Look(ctx, after, roles...)
			if ctx.Err() != nil {
				if err != nil && seen == 0 {
					yield(lock.Standing{}, fmt.Errorf("watch: %w", err))
				}
				return
			}
			if err != nil {
				if !yield(lock.Standing{}, fmt.Errorf("watch: %w", err)) {
					return
				}
				continue
			}
			seen = revision
			for _, st := range standings {
				if old, ok := shown[st.Role]; ok && reflect.DeepEqual(old, st) {
					continue
				}
				shown[st.Role] = st
				if !yield(st, nil) {
					return
				}
			}
		}
	}
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
	if err := lock.CheckFloor(above); err != nil {
		return err
	}
	_, err := l.propose(ctx, Command{Op: Raise, Token: above})
	return err
}

func (l *locker) Close() error { return l.store.Close() }

// propose makes one call of the contract.
func (l *locker) propose(ctx context.Context, c Command) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	c.At = time.Now().UTC().Truncate(time.Millisecond)
	r, err := l.store.Propose(ctx, c)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", c.Op, err)
	}
	for {
		acked := l.acked.Load()
		if r.Revision <= acked || l.acked.CompareAndSwap(acked, r.Revision) {
			return r, r.Err()
		}
	}
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
	read, _, err := s.locker.store.Look(ctx, max(s.locker.acked.Load(), 1)-1, role)
	if err != nil {
		return 0, fmt.Errorf("acquire: %w", err)
	}
	r, err := s.propose(ctx, Command{Op: Acquire, Role: role, Token: read[0].Term.Token})
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
