package conformance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// A shelf is the reference ledger with every fault that a harness can have, in
// virtual time. Mistakes are planted in it.
type shelf struct {
	mistake
	mu       sync.Mutex
	ledger   *ledger.Ledger
	foreign  map[string]bool
	changed  chan struct{} // closed and replaced by every command
	restarts int
}

// A mistake is what a backend can get wrong. Its zero value is none.
type mistake struct {
	apply func(s *shelf, revision uint64, c ledger.Command) ledger.Result // in the place of the ledger's
	wrap  func(s *shelf, l lock.Locker) lock.Locker                       // around each Locker
	start func(s *shelf)                                                  // after a restart, before anything else
	via   func(w *wire) ledger.Store                                      // between each Locker and its wire
}

func newShelf(m mistake) *shelf {
	return &shelf{mistake: m, ledger: ledger.New(), foreign: map[string]bool{}, changed: make(chan struct{})}
}

func (s *shelf) store() *Store {
	return &Store{
		Open: s.open,
		Restart: func(context.Context) error {
			return s.change(func() {
				if s.restarts++; s.start != nil {
					s.start(s)
				}
			})
		},
		DeleteSession: func(_ context.Context, id lock.SessionID) error {
			return s.change(func() {
				delete(s.ledger.Claims, s.ledger.Sessions[id].Contender.ID)
				delete(s.ledger.Sessions, id)
			})
		},
		DeleteRole: func(_ context.Context, role string) error { return s.change(func() { delete(s.ledger.Roles, role) }) },
		Overwrite:  func(_ context.Context, role string) error { return s.change(func() { s.foreign[role] = true }) },
	}
}

// change does something that is not a command.
func (s *shelf) change(do func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	s.ledger.Revision++
	s.wake()
	return nil
}

func (s *shelf) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *shelf) open(context.Context) (*Client, error) {
	w := &wire{shelf: s, closed: make(chan struct{}), healed: make(chan struct{})}
	w.set(false, false)
	store := ledger.Store(w)
	if s.via != nil {
		store = s.via(w)
	}
	kept := ledger.NewLocker(store)
	l := lock.Locker(shelved{kept, kept.(lock.Operator), kept.(lock.Values), s})
	if s.wrap != nil {
		l = s.wrap(s, l)
	}
	return &Client{
		Locker:      l,
		Cut:         func() error { return w.set(true, true) },
		CutReplies:  func() error { return w.set(false, true) },
		CutRequests: func() error { return w.set(true, false) },
		Refuse:      w.refuse,
		Heal:        func() error { return w.set(false, false) },
	}, nil
}

// A shelved Locker says which role's record is not readable.
type shelved struct {
	lock.Locker
	lock.Operator
	lock.Values
	s *shelf
}

func (l shelved) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		for st, err := range l.Locker.Watch(ctx, roles...) {
			l.s.mu.Lock()
			for role, is := range l.s.foreign {
				if is && errors.Is(err, lock.ErrPermanent) {
					st.Role = role
				}
			}
			l.s.mu.Unlock()
			if !yield(st, err) {
				return
			}
		}
	}
}

// A wire is one Locker's way to the shelf.
type wire struct {
	*shelf
	resets int // under the shelf's mutex
	once   sync.Once
	closed chan struct{}

	state   sync.Mutex
	out, in bool // requests and replies are held back
	refused bool // all that passes fails
	healed  chan struct{}
}

var (
	errShut  = errors.New("the locker is closed")
	errReset = errors.New("the connection was reset")
)

func (w *wire) set(out, in bool) error {
	w.state.Lock()
	defer w.state.Unlock()
	w.out, w.in, w.refused = out, in, false
	close(w.healed)
	w.healed = make(chan struct{})
	return nil
}

// refuse fails what passes, and wakes what waits for an answer.
func (w *wire) refuse() error {
	w.state.Lock()
	w.refused = true
	close(w.healed)
	w.healed = make(chan struct{})
	w.state.Unlock()
	return w.change(func() { w.resets++ })
}

// pass lets a message through when nothing holds it back.
func (w *wire) pass(ctx context.Context, reply bool) error {
	for {
		w.state.Lock()
		held, healed, refused := !reply && w.out || reply && w.in, w.healed, w.refused
		w.state.Unlock()
		if refused {
			return errReset
		}
		select {
		case <-w.closed:
			return errShut
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if !held {
			return nil
		}
		select {
		case <-healed:
		case <-w.closed:
		case <-ctx.Done():
		}
	}
}

func (w *wire) Propose(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	if err := w.pass(ctx, false); err != nil {
		if ctx.Err() != nil { // it was sent, and arrives when its caller has given up
			go func() {
				if w.pass(context.Background(), false) == nil {
					w.propose(c)
				}
			}()
		}
		return ledger.Result{}, err
	}
	r := w.propose(c)
	return r, w.pass(ctx, true)
}

func (s *shelf) propose(c ledger.Command) ledger.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.foreign[c.Role] {
		return ledger.Result{Code: ledger.Permanent, Why: "a foreign value", Revision: s.ledger.Revision}
	}
	revision := s.ledger.Revision + 1
	var r ledger.Result
	if s.apply != nil {
		r = s.apply(s, revision, c)
	} else {
		r = s.ledger.Apply(revision, c)
	}
	if _, known := s.ledger.Roles[c.Role]; c.Op == ledger.Release && !known && c.Token != 0 {
		// Its record was deleted by hand: who releases it writes it again.
		t := lock.Term{Token: c.Token, Holder: lock.Member{Contender: lock.Contender{Session: c.Session}}, Over: "released"}
		s.ledger.Roles[c.Role] = ledger.Role{Term: t}
	}
	r.Revision = s.ledger.Revision
	s.wake()
	return r
}

func (w *wire) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	if err := w.pass(ctx, false); err != nil {
		return ledger.View{}, err
	}
	w.mu.Lock()
	restarts := w.restarts + w.resets
	w.mu.Unlock()
	for {
		w.mu.Lock()
		v, changed, reset := w.ledger.View(roles...), w.changed, w.restarts+w.resets != restarts
		var err error
		for _, st := range v.Standings {
			if w.foreign[st.Role] {
				err = lock.Permanent(fmt.Errorf("role %q holds a foreign value", st.Role))
			}
		}
		w.mu.Unlock()
		if reset {
			return ledger.View{}, errReset
		}
		if err != nil {
			return ledger.View{}, err
		}
		if v.After(after) || after.Revision == 0 {
			return v, w.pass(ctx, true)
		}
		select {
		case <-changed:
		case <-w.closed:
			return ledger.View{}, errShut
		case <-ctx.Done():
			return ledger.View{}, ctx.Err()
		}
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}
