package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// DefaultPrefix is the prefix of all keys where none is given.
const DefaultPrefix = "understudy/"

// NewLocker returns the Locker that keeps its records in s, which it closes, under
// the prefix: DefaultPrefix if it is empty.
func NewLocker(s Store, prefix string) lock.Locker {
	l := &locker{bare: s, keys: keysUnder(prefix)}
	l.store = acknowledging{s, l}
	l.open, l.close = context.WithCancelCause(context.Background())
	return l
}

type locker struct {
	store Store // of the calls
	bare  Store // of the follower
	keys  keys
	open  context.Context // done when the locker is closed
	close context.CancelCauseFunc
	group sync.WaitGroup // what runs in the background

	mu       sync.Mutex
	follower *follower // nil: nobody watches
	read     View      // what the last watch had read when it ended

	took atomic.Int64 // how long the last reading of everything took
}

var (
	_ lock.Locker = (*locker)(nil)

	errClosed = errors.New("the locker is closed")
)

func (l *locker) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	errs := []error{lock.CheckName("id", c.ID), lock.CheckName("session", string(c.Session)), checkBids(bids)}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	defer l.look()
	s := &session{locker: l, contender: c, promise: p, bids: bids}
	if err := s.register(ctx); err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	return s, nil
}

func checkBids(bids []lock.Bid) error {
	var errs []error
	for _, b := range bids {
		errs = append(errs, lock.CheckName("role", b.Role))
	}
	return errors.Join(errs...)
}

func (l *locker) Evict(ctx context.Context, id lock.SessionID, seen lock.Beat, why lock.End) error {
	if err := lock.CheckName("session", string(id)); err != nil {
		return err
	}
	defer l.look()
	e := ending{session: id, why: why}
	if seen != lock.AnyBeat {
		e.moved = func(r Record) bool { return lock.Beat(r.Revision) != seen }
	} else {
		e.was = l.remembered(id)
	}
	if err := l.end(ctx, e); err != nil {
		return fmt.Errorf("evict: %w", err)
	}
	return nil
}

// An ending is what is written when a session is over.
type ending struct {
	session lock.SessionID
	why     lock.End
	moved   func(session Record) bool // whether the record that stands there forbids it; nil: none does
	was     Record                    // the session's record as it was read some time ago, if it was

	// Where the session's record is not there to tell them.
	contender string
	created   uint64
	lease     Lease
	promise   lock.Promise

	gone Lease // a lease that is no more
	lost bool  // its owner knows that the record is gone
	with []Txn // is done in the same step, or not at all where anything has changed
}

// end writes a session's end in place of its record and of its claim, in one
// step. It returns nil where the end is written already. A record that is remembered
// saves the reading: the guards say whether it is still there.
//
// The end hangs on the lease that the record hung on, so that no registration which is
// still on its way can outlive it, and gets all of its time: the lease is renewed while
// the end is written. If that fails it stands for as long as is left.
func (l *locker) end(ctx context.Context, e ending) error {
	own, end := l.keys.session(e.session), l.keys.end(e.session)
	found, err := View{Records: []Record{e.was}}, error(nil)
	if e.was.Revision == 0 && !e.lost {
		found, err = l.store.Read(ctx, own, end)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what renews a lease for nobody
	var kept keeping
	for keepClaim := false; err == nil; {
		if found.Get(end).Revision != 0 {
			return nil
		}
		was := found.Get(own)
		if e.moved != nil && e.moved(was) {
			return lock.ErrMoved
		}
		if e.recall(was); e.lease == "" {
			if e.lease, err = l.store.Grant(ctx, leaseFor(e.promise)); err != nil {
				return err
			}
		} else if kept.lease != e.lease {
			kept = l.keep(ctx, e.lease)
		}
		var r Result
		r, err = l.store.Commit(ctx, joined(append(e.with, l.over(e, was.Revision, keepClaim))...))
		switch {
		case errors.Is(err, ErrNoLease):
			e.gone, e.lease, err = e.lease, "", nil
		case err == nil && !r.Committed:
			e.with = nil
			keepClaim = r.Found.Get(l.keys.claim(e.contender)).Revision != e.created
			found = r.Found
		case err == nil:
			if kept.lease != e.lease || !kept.gone(ctx) {
				return nil
			}
			e.gone, e.lease = e.lease, "" // the end went with it
			found, err = l.store.Read(ctx, own, end)
		}
	}
	return err
}

// A keeping is the renewal of a lease that goes on beside other calls.
type keeping struct {
	lease Lease
	done  chan error // of size one
}

func (l *locker) keep(ctx context.Context, lease Lease) keeping {
	k := keeping{lease, make(chan error, 1)}
	l.background(func(context.Context) { k.done <- l.store.Keep(ctx, lease) })
	return k
}

// gone reports whether the lease turned out to be gone.
func (k keeping) gone(ctx context.Context) bool {
	select {
	case err := <-k.done:
		return errors.Is(err, ErrNoLease)
	case <-ctx.Done(): // also where the locker was closed
		return false
	}
}

// over is the transaction that writes e, where the session's record stands at a
// revision; 0: it is not there.
func (l *locker) over(e ending, revision uint64, keepClaim bool) Txn {
	own, end, claim := l.keys.session(e.session), l.keys.end(e.session), l.keys.claim(e.contender)
	t := Txn{
		Guards: []Guard{{Key: end}, {Key: own, Revision: revision}},
		Writes: []Write{{Key: end, Value: encode(endRecord{newHeader(), e.why}), Lease: e.lease}, {Key: own}},
	}
	if e.moved == nil && revision != 0 { // whichever beat is there
		t.Guards[1] = Guard{Key: own, Exists: true}
	}
	// The claim was made with the record, and by nobody else if it still stands as it
	// was made.
	if e.contender != "" && !keepClaim {
		t.Guards = append(t.Guards, Guard{Key: claim, Revision: e.created})
		t.Writes = append(t.Writes, Write{Key: claim})
	}
	return t
}

// recall takes from a session's record what its end needs.
func (e *ending) recall(r Record) {
	if r.Revision == 0 {
		return
	}
	if r.Lease != e.gone {
		e.lease = r.Lease
	}
	if s := decodeSession(e.session, r); s.Contender.ID != "" {
		e.contender, e.created, e.promise = s.Contender.ID, s.created(), s.Promise.lock()
	}
}

// leaseFor is how long the store keeps what nobody renews. It is the janitor, not
// the judge: nobody acts on it.
func leaseFor(p lock.Promise) time.Duration { return max(time.Minute, 2*p.TTL) }

func (l *locker) Ask(ctx context.Context, role string, r lock.Request) error {
	if err := lock.CheckName("role", role); err != nil {
		return err
	}
	defer l.look()
	if err := l.ask(ctx, role, r); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	return nil
}

func (l *locker) ask(ctx context.Context, name string, r lock.Request) error {
	key, wish := l.keys.role(name), l.keys.wish(name)
	found, err := l.store.Read(ctx, key, wish)
	if err != nil {
		return err
	}
	role, err := decodeRole(found.Get(key))
	if err != nil {
		return err
	}
	if _, err := decode[wishRecord](found.Get(wish)); err != nil {
		return err
	}
	if !role.held() || role.token() != r.Token {
		return lock.ErrMoved
	}
	done, err := l.store.Commit(ctx, Txn{
		Guards: []Guard{{Key: key, Revision: role.revision}, {Key: l.keys.end(role.Holder.Session)}},
		Writes: []Write{{Key: wish, Value: encode(wishRecord{newHeader(), r})}},
	})
	if err == nil && !done.Committed {
		return lock.ErrMoved
	}
	return err
}

func (l *locker) Raise(ctx context.Context, above lock.Token) error {
	if err := lock.CheckFloor(above); err != nil {
		return err
	}
	defer l.look()
	if err := l.raise(ctx, above); err != nil {
		return fmt.Errorf("raise: %w", err)
	}
	return nil
}

func (l *locker) raise(ctx context.Context, above lock.Token) error {
	found, err := l.store.Read(ctx, l.keys.floor())
	for err == nil {
		var floor floorRecord
		if floor, err = decodeFloor(found.Get(l.keys.floor())); err != nil {
			return err
		}
		next := floorRecord{header: newHeader(), Floor: max(floor.Floor, above), Offset: floor.Offset}
		if uint64(next.Floor) > found.Revision { // every revision to come is greater than this one
			next.Offset = max(next.Offset, uint64(next.Floor)-found.Revision)
		}
		var r Result
		r, err = l.store.Commit(ctx, Txn{
			Guards: []Guard{{Key: l.keys.floor(), Revision: floor.revision}},
			Writes: []Write{{Key: l.keys.floor(), Value: encode(next)}},
		})
		if r.Committed {
			return nil
		}
		found = r.Found
	}
	return err
}

func (l *locker) Close() error {
	l.mu.Lock()
	l.close(errClosed)
	l.mu.Unlock()
	err := l.store.Close()
	l.group.Wait()
	return err
}

// background runs f until it returns, with a context that is done when the locker
// is closed. Close waits for it. A closed one runs nothing more.
func (l *locker) background(f func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open.Err() == nil {
		l.group.Go(func() { f(l.open) })
	}
}

// look makes every Watch of this Locker look again.
func (l *locker) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.follower != nil {
		l.follower.ask()
	}
}
