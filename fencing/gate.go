package fencing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/understudy-ha/understudy/lock"
)

// ErrRole means that the gate does not guard the role that was named.
var ErrRole = errors.New("not a role that is guarded here")

// A Gate stands in front of a resource in one process, and lets in requests that carry the
// greatest token of their role. A request that was let in and stalls cannot get around it: a
// greater token ends the contexts of the requests under smaller ones, and waits until they have
// returned. It is safe for concurrent use.
//
// If several processes write to one resource, a Gate in each of them is not enough, whatever
// Tokens they share: the others do not know of a stalled request in one of them. Then the check
// belongs into the resource, as in package fencingsql.
type Gate struct {
	tokens Tokens
	roles  []string

	mu    sync.Mutex
	doors map[string]*door
}

// A door is one role's part of a gate.
type door struct {
	greatest lock.Token
	inside   map[*visit]struct{}
	left     chan struct{} // closed and replaced whenever a visit ends
}

type visit struct {
	token lock.Token
	end   context.CancelCauseFunc
}

// NewGate returns a Gate for the named roles; if none is named, for any role, and each role then
// takes some memory for good.
func NewGate(tokens Tokens, roles ...string) *Gate {
	return &Gate{tokens: tokens, roles: roles, doors: map[string]*door{}}
}

// Enter lets one request in. It asks the Tokens, and waits until every request under a smaller
// token has left. The context that it returns ends when ctx does, and with a *StaleError as its
// cause when a greater token comes; the request must then do nothing more, and leave. leave must
// be called once the request has returned.
//
// It fails with a *StaleError, with ErrRole, with lock.ErrPermanent for an invalid role or token,
// with the error of the Tokens, and with the cause of ctx if that ends first.
func (g *Gate) Enter(ctx context.Context, role string, t lock.Token) (inside context.Context, leave func(), err error) {
	if err := Check(role, t); err != nil {
		return nil, nil, err
	}
	if len(g.roles) > 0 && !slices.Contains(g.roles, role) {
		return nil, nil, fmt.Errorf("%w: %q (guarded are %q)", ErrRole, role, g.roles)
	}
	if err := g.tokens.Raise(ctx, role, t); err != nil {
		return nil, nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.door(role)
	d.overtake(role, t)
	for {
		if t < d.greatest {
			return nil, nil, &StaleError{Role: role, Token: t, Current: d.greatest}
		}
		if !d.hasSmaller(t) {
			break
		}
		if err := g.wait(ctx, d.left); err != nil {
			return nil, nil, fmt.Errorf("role %q, token %d: requests under a smaller token have not returned: %w", role, t, err)
		}
	}
	inside, end := context.WithCancelCause(ctx)
	v := &visit{t, end}
	d.inside[v] = struct{}{}
	return inside, sync.OnceFunc(func() { g.leave(d, v) }), nil
}

func (g *Gate) door(role string) *door {
	d := g.doors[role]
	if d == nil {
		d = &door{inside: map[*visit]struct{}{}, left: make(chan struct{})}
		g.doors[role] = d
	}
	return d
}

// overtake makes t the greatest token if it is, and ends the visits under smaller ones.
func (d *door) overtake(role string, t lock.Token) {
	if t <= d.greatest {
		return
	}
	d.greatest = t
	for v := range d.inside {
		v.end(&StaleError{Role: role, Token: v.token, Current: t})
	}
}

func (d *door) hasSmaller(t lock.Token) bool {
	for v := range d.inside {
		if v.token < t {
			return true
		}
	}
	return false
}

// wait waits for a request to leave, without the mutex.
func (g *Gate) wait(ctx context.Context, left <-chan struct{}) error {
	g.mu.Unlock()
	defer g.mu.Lock()
	select {
	case <-left:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *Gate) leave(d *door, v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v.end(context.Canceled)
	delete(d.inside, v)
	close(d.left)
	d.left = make(chan struct{})
}
