package kv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/understudy-ha/understudy/lock"
)

// DefaultPrefix is the prefix of all keys if none is given.
const DefaultPrefix = "understudy/"

// NewLocker returns the Locker that keeps its records in s, which it closes, under the prefix:
// DefaultPrefix if it is empty.
func NewLocker(s Store, prefix string) lock.Locker {
	l := &locker{bare: s, keys: keysUnder(prefix), draw: rand.Text()}
	l.store = acknowledging{s, l}
	l.open, l.close = context.WithCancelCause(context.Background())
	return l
}

type locker struct {
	store Store // for the calls
	bare  Store // for the follower
	keys  keys
	draw  string          // the store's identity if it has none when we first write
	open  context.Context // done when the locker is closed
	close context.CancelCauseFunc
	group sync.WaitGroup // what runs in the background

	mu       sync.Mutex
	held     string    // the identity that we hold to; empty: none was seen
	follower *follower // nil: no watch runs
	read     *picture  // what the last watch had been shown when it ended; nil: nothing

	memo memo

	took atomic.Int64 // how long the last reading of everything took
}

var (
	_ lock.Locker = (*locker)(nil)

	errClosed = errors.New("the locker is closed")
)

func (l *locker) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	errs := []error{lock.CheckContender(c), lock.CheckBids(bids...), lock.CheckPromise(p)}
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

func (l *locker) Ask(ctx context.Context, role string, r lock.Request) error {
	err := lock.CheckName("role", role)
	if r.To != "" {
		err = errors.Join(err, lock.CheckName("session", string(r.To)))
	}
	if err != nil {
		return err
	}
	defer l.look()
	if err := l.ask(ctx, role, r); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	return nil
}

func (l *locker) ask(ctx context.Context, name string, r lock.Request) error {
	key, wish, pause := l.keys.role(name), l.keys.wish(name), l.keys.pause(name)
	found, err := l.readHere(ctx, key, wish, pause)
	if err != nil {
		return err
	}
	role, err := decodeRole(found.Get(key))
	if err != nil {
		return err
	}
	stands, err := decode[wishRecord](found.Get(wish))
	if err != nil {
		return err
	}
	if !role.held() || role.token() != r.Token {
		return lock.ErrMoved
	}
	if err := l.paused(name, found, lock.ErrMoved); err != nil {
		return err
	}
	guards := []Guard{{Key: key, Revision: role.revision}, {Key: l.keys.end(role.Holder.Session)}, {Key: pause, Revision: found.Get(pause).Revision}}
	if r.Answered {
		switch stands.Request {
		case r:
			return nil
		case r.Unanswered():
			guards = append(guards, Guard{Key: wish, Revision: found.Get(wish).Revision})
		default:
			return lock.ErrMoved
		}
	}
	done, err := l.commitHere(ctx, Txn{
		Guards: guards,
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
	return l.rewrite(ctx, l.keys.floor(), func(found View) ([]byte, error) {
		floor, err := decodeFloor(found.Get(l.keys.floor()))
		next := floorRecord{header: newHeader(), Floor: max(floor.Floor, above), Offset: floor.Offset}
		floor64 := uint64(next.Floor) // and every future revision is greater than this one
		next.Offset = max(next.Offset, floor64-min(floor64, found.Revision))
		return encode(next), err
	})
}

func (l *locker) Close() error {
	l.mu.Lock()
	l.close(errClosed)
	l.mu.Unlock()
	err := l.store.Close()
	l.group.Wait()
	return err
}

// background runs f until it returns, with a context that is done when the locker is closed.
// Close waits for it. A closed locker runs nothing more.
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
