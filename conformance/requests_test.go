package conformance

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestAnyNumberOfRequests runs the suite on stores without a mistake, whose calls are another
// number of requests than the ledger's: package lock promises none. With the race detector it is one of them, at
// random: to it they differ in nothing.
func TestAnyNumberOfRequests(t *testing.T) {
	for what, m := range map[string]mistake{
		"an acquisition is one":     oneRequest(),
		"every call reads before":   {via: func(w *wire) ledger.Store { return &chatty{wire: w, before: 2} }},
		"every call reads after it": {via: func(w *wire) ledger.Store { return &chatty{wire: w, after: 1} }},
	} {
		t.Run(what, func(t *testing.T) { passes(t, onShelf(m)) })
		if lab.Race {
			break
		}
	}
}

// oneRequest has the store itself look whether the role is vacant.
func oneRequest() mistake {
	m := applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Acquire {
			c.Token = s.ledger.Roles[c.Role].Term.Token
		}
		return next(c)
	})
	m.wrap = func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, Operator: l.(lock.Operator), Values: l.(lock.Values), session: func(s lock.Session) lock.Session { return acquirer{s} }}
	}
	m.via = func(w *wire) ledger.Store { return unread{w} }
	return m
}

// unasked marks a look that no request is sent for.
type unasked struct{}

type acquirer struct{ lock.Session }

func (a acquirer) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	return a.Session.TryAcquire(context.WithValue(ctx, unasked{}, true), role)
}

type unread struct{ *wire }

func (u unread) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	if ctx.Value(unasked{}) == nil {
		return u.wire.Look(ctx, after, roles...)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ledger.View(roles...), nil
}

// chatty sends and awaits so many requests that change nothing before each that does, and
// after it.
type chatty struct {
	*wire
	before, after int
}

func (c *chatty) Propose(ctx context.Context, command ledger.Command) (r ledger.Result, err error) {
	if err := c.exchange(ctx, c.before); err != nil {
		return ledger.Result{}, err
	}
	if r, err = c.wire.Propose(ctx, command); err != nil {
		return r, err
	}
	return r, c.exchange(ctx, c.after)
}

func (c *chatty) exchange(ctx context.Context, times int) error {
	for range times {
		for _, reply := range []bool{false, true} {
			if err := c.pass(ctx, reply); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestFloorRaisedByAnother runs a case on a store without a mistake whose floor somebody else
// raises meanwhile: cases run beside each other on one store, and one of them does.
func TestFloorRaisedByAnother(t *testing.T) {
	s := onShelf(applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Record {
			s.ledger.Floor += 1000
		}
		return next(c)
	})).defaults()
	at := slices.IndexFunc(cases, func(c kase) bool { return c.name == "EventsQuiet" })
	synctest.Test(t, func(t *testing.T) {
		if r := s.try(t.Context(), cases[at]); r.Verdict == Failed {
			t.Error(r.Why)
		}
	})
}
