package coordinator

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A Term is one tenure of a role, as its work sees it. The zero Term is not valid.
type Term struct {
	Role  string
	Token lock.Token // pass it to whatever the work writes to

	lease  *lease
	tenure *tenure
}

// TermOf returns the term of the work that ctx was made for: every context that
// derives from the one that the work was given has it, be it deep in a call, so that
// whoever writes finds the token. false: ctx derives from no work's.
func TermOf(ctx context.Context) (Term, bool) {
	t, ok := ctx.Value(termKey{}).(Term)
	return t, ok
}

type termKey struct{}

// Valid reports whether the work may still act at this moment: the promise
// stands on the clocks as they are read now, and the term has not been ended.
// It needs no goroutine to have run, and is false after any pause that outlived
// the promise. It does not replace the token: a process may be paused between
// this check and its effect.
func (t Term) Valid() bool { return t.Left() > 0 }

// Left returns how long the work may still act, by the promise alone: until
// then the process must have stopped it. It is zero or less once it may not.
func (t Term) Left() time.Duration {
	if t.tenure == nil || t.tenure.over.Load() {
		return 0
	}
	return t.lease.left()
}
