// Package memory is the reference store: a ledger behind a mutex, in one process. It shows
// everything that a store must be, and nothing else; package ledger says what each call does to
// the records.
package memory

import (
	"context"
	"errors"
	"sync"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// A Store is one store, shared by the Lockers that it opens.
type Store struct {
	mu      sync.Mutex
	ledger  *ledger.Ledger
	changed chan struct{} // closed and replaced by every command
}

// New returns an empty store.
func New() *Store {
	l := ledger.New()
	l.Revision = 1 // 0 is before everything: a client that has seen nothing asks for what is after it
	return &Store{ledger: l, changed: make(chan struct{})}
}

// Open returns a Locker on the store. Closing it leaves the store as it is.
func (s *Store) Open() lock.Locker {
	return ledger.NewLocker(&client{store: s, closed: make(chan struct{})})
}

// A client is one Locker's way to the store.
type client struct {
	store  *Store
	once   sync.Once
	closed chan struct{}
}

var errClosed = errors.New("the locker is closed")

func (c *client) Propose(ctx context.Context, cmd ledger.Command) (ledger.Result, error) {
	select {
	case <-c.closed:
		return ledger.Result{}, errClosed
	default:
	}
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.ledger.Apply(s.ledger.Revision+1, cmd)
	r.Revision = s.ledger.Revision
	close(s.changed)
	s.changed = make(chan struct{})
	return r, nil
}

func (c *client) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	for {
		v, changed := c.store.look(roles)
		if v.After(after) {
			return v, nil
		}
		select {
		case <-changed:
		case <-c.closed:
			return ledger.View{}, errClosed
		case <-ctx.Done():
			return ledger.View{}, ctx.Err()
		}
	}
}

func (s *Store) look(roles []string) (ledger.View, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.View(roles...), s.changed
}

func (c *client) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}
