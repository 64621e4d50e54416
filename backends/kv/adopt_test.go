package kv_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/internal/lab"
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

// A store of several endpoints, one of which may be a wrong one.
type endpoints struct {
	*kvmem.Client
	left atomic.Int32
}

func (e *endpoints) Elsewhere() { e.left.Add(1) }

// TestOtherStore: who holds to a store does nothing in another one that stands in its place,
// leaves the endpoint that showed it, and is let in when that store was adopted.
func TestOtherStore(t *testing.T) {
	inBubble(t, func(r *rig) {
		empty := r.server.Save()
		store := &endpoints{Client: r.server.Open()}
		l := kv.NewLocker(store, "")
		defer l.Close()
		a := r.join(l, "a")
		held := r.now(r.locker(), "r").Store
		empty()
		other := r.locker()
		b := r.join(other, "b")
		before := r.all()
		_, register := l.Register(r.ctx, lab.Contender("c"), lab.Long)
		_, acquire := a.TryAcquire(r.ctx, "r")
		for call, err := range map[string]error{
			"Register": register, "TryAcquire": acquire, "Handoff": a.Handoff(r.ctx, "r", 1, b.ID()), "Evict": r.evict(l, b), "Raise": l.Raise(r.ctx, 9), "Ask": l.Ask(r.ctx, "r", lock.Request{}),
		} {
			var wrong *lock.OtherStoreError
			if !errors.As(err, &wrong) || wrong.Seen != held || wrong.Found == "" || wrong.Found == held {
				t.Errorf("%s: %v, want that it is another store than %q", call, err, held)
			}
		}
		for _, err := range l.Watch(r.ctx, "r") {
			r.want(err, lock.ErrOtherStore)
			break
		}
		if after := r.all(); after != before {
			t.Errorf("%s\nbecame\n%s", before, after)
		}
		if store.left.Load() == 0 {
			t.Error("it stays with an endpoint that shows another store")
		}
		r.must(other.(adopter).Adopt(r.ctx, held))
		r.must(l.Raise(r.ctx, 9))
	})
}

// TestForeignIdentity: a store's identity that is not readable is told, and not overwritten.
func TestForeignIdentity(t *testing.T) {
	for value, want := range map[string]string{`{"Format":2}`: "not one of understudy's", `{"Format":4,"Identity":"x"}`: "format 4"} {
		inBubble(t, func(r *rig) {
			r.put("state/identity", value)
			l := r.locker()
			for _, err := range []error{l.Raise(r.ctx, 9), l.(adopter).Adopt(r.ctx, "x")} {
				if r.want(err, lock.ErrPermanent); !strings.Contains(err.Error(), want) {
					t.Error(err)
				}
			}
			if now := string(r.get("state/identity").Value); now != value {
				t.Errorf("%s became %s", value, now)
			}
		})
	}
}

// TestDrawnByAnother: a store gets one identity, whoever else comes before the first commit; and
// who held to one does nothing in the store that comes in its place then.
func TestDrawnByAnother(t *testing.T) {
	inBubble(t, func(r *rig) {
		between := func(c *kvmem.Client, do func()) {
			first := true
			c.On(func(one kvmem.Call) kvmem.Fault {
				if one.Name != "Commit" || !first {
					return kvmem.Fault{}
				}
				first = false
				return kvmem.Fault{Before: func(context.Context) error { do(); return nil }}
			})
		}
		empty := r.server.Save()
		l, its := r.wired()
		between(its, func() { r.join(r.locker(), "a") })
		r.join(l, "b")
		held := r.now(l, "r").Store
		if drawn := r.now(r.locker(), "r").Store; drawn != held {
			t.Errorf("the store is %q and %q", held, drawn)
		}
		between(its, func() { empty(); r.join(r.locker(), "c") })
		var wrong *lock.OtherStoreError
		if err := l.Raise(r.ctx, 9); !errors.As(err, &wrong) || wrong.Seen != held || wrong.Found != r.now(r.locker(), "r").Store {
			t.Errorf("got %v, want that it is another store", err)
		}
	})
}

// TestNameDeleted: where the key is gone by which a store is known, nothing is done until the
// store is adopted under that name.
func TestNameDeleted(t *testing.T) {
	inBubble(t, func(r *rig) {
		l := r.locker()
		r.join(l, "a")
		held := r.now(l, "r").Store
		r.remove("state/name/" + held)
		r.want(l.Raise(r.ctx, 9), lock.ErrOtherStore)
		r.must(l.(adopter).Adopt(r.ctx, held))
		r.must(l.Raise(r.ctx, 9))
		r.put("state/name/x", `{"Format":2}`) // which the store itself knows nothing of
		r.must(l.(adopter).Adopt(r.ctx, "x"))
		if now := string(r.get("state/identity").Value); !strings.Contains(now, `"x"`) {
			t.Errorf("adopted under another name, it is %s", now)
		}
	})
}
