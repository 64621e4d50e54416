package kv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/lock"
)

type adopter interface {
	Adopt(ctx context.Context, identity string) error
}

// TestAdopt: who holds to another store is let in once this one was adopted under that store's
// identity, for as long as no sixteen others were; an adoption that fails, or comes between
// another's, adopts nothing by halves.
func TestAdopt(t *testing.T) {
	inBubble(t, func(r *rig) {
		l := r.locker()
		r.join(l, "a")
		held := r.now(l, "r").Store
		if held == "" {
			t.Fatal("the store has no identity")
		}
		r.server = kvmem.New() // another store stands in its place
		r.hand = r.server.Open()
		operator, its := r.wired()
		r.want(operator.(adopter).Adopt(r.ctx, ""), lock.ErrPermanent)
		broken := errors.New("broken")
		for _, name := range []string{"Read", "Commit"} {
			its.On(func(c kvmem.Call) kvmem.Fault {
				if c.Name == name {
					return kvmem.Fail(broken)
				}
				return kvmem.Fault{}
			})
			r.want(operator.(adopter).Adopt(r.ctx, held), broken)
		}
		its.On(nil)
		r.must(operator.(adopter).Adopt(r.ctx, held))
		before := r.all()
		r.must(operator.(adopter).Adopt(r.ctx, held))
		if after := r.all(); after != before {
			t.Errorf("adopted again, it is another:\n%s\n%s", before, after)
		}
		own := r.now(r.locker(), "r").Store
		if own == "" || own == held {
			t.Errorf("the store's own identity is %q, that of the one before %q", own, held)
		}
		for i := range 20 {
			r.must(operator.(adopter).Adopt(r.ctx, fmt.Sprint("x", i)))
		}
		if again := r.now(r.locker(), "r").Store; again != own {
			t.Errorf("it is %q, and was %q", again, own)
		}
		for i := range 20 {
			kept := r.get(fmt.Sprint("state/name/x", i)).Revision != 0
			if kept != (i >= 4) {
				t.Errorf("of the 16 latest identities, number %d is kept: %v", i, kept)
			}
		}
		if r.get("state/name/"+held).Revision != 0 {
			t.Error("the first one is kept, and 20 came after it")
		}
	})
}
