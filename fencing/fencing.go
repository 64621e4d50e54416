package fencing

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// ErrStale means that the token is not, or no longer, the role's current one. What was refused
// has written nothing; a gRPC stream, which may be refused in the middle, writes nothing from
// then on. It is for good: stop the work. errors.As finds a *StaleError if the current token is
// known.
var ErrStale = errors.New("stale fencing token")

// ErrNoTerm means that the context carries no role and token to send.
var ErrNoTerm = errors.New("the context does not come from a work, and carries no role and token (see fencing.NewContext)")

// A StaleError says which token was refused, and which one is current.
type StaleError struct {
	Role    string
	Token   lock.Token // that was refused
	Current lock.Token // the greatest one known; zero: the role has no record
}

// Error names the role, the token that was refused, and the current one.
func (e *StaleError) Error() string {
	text := fmt.Sprintf("%v: role %q, token %d: ", ErrStale, e.Role, e.Token)
	switch e.Current {
	case 0:
		return text + "the role has no record"
	case e.Token:
		return text + "its term is over"
	}
	return text + fmt.Sprintf("the current one is %d", e.Current)
}

// Unwrap returns ErrStale.
func (e *StaleError) Unwrap() error { return ErrStale }

// Check says what is wrong with a role and a token: the role must be a name that package lock
// accepts, and the token must not be zero. The error is lock.ErrPermanent.
func Check(role string, t lock.Token) error {
	if err := lock.CheckName("role", role); err != nil {
		return err
	}
	if t == 0 {
		return lock.Permanent(errors.New("token 0: must be the token of a term"))
	}
	return nil
}

type pass struct {
	role  string
	token lock.Token
}

type key struct{}

// NewContext returns a context that carries the role and the token of a term. It is for contexts
// that are not derived from the work's own, which carries them. The clients of packages
// fencinghttp and fencinggrpc send what their context carries.
func NewContext(ctx context.Context, role string, t lock.Token) context.Context {
	return context.WithValue(ctx, key{}, pass{role, t})
}

// FromContext returns the role and the token that the context carries: those of NewContext, or
// else of the work that it was made for (coordinator.TermOf). The token is zero if it carries
// none.
func FromContext(ctx context.Context) (role string, t lock.Token) {
	if p, ok := ctx.Value(key{}).(pass); ok {
		return p.role, p.token
	}
	term, _ := coordinator.TermOf(ctx)
	return term.Role, term.Token
}
