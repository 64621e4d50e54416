package object_test

import (
	"context"
	"errors"
	"testing"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/object/objectmem"
	"github.com/understudy-ha/understudy/lock"
)

// TestBeatIsLost: who saw a beat that is followed by one that a new era has lost evicts nobody
// for it: the silence counts from the new era on.
func TestBeatIsLost(t *testing.T) {
	for what, lost := range map[string]int{"nothing is lost": 0, "the last beat is lost": 1} {
		in(t, func(t *testing.T, ctx context.Context) {
			server := objectmem.New()
			p, q := open(t, server), open(t, server)
			a := p.register(ctx, "a")
			token := p.acquire(ctx, a, "r")
			st, err := q.standing(ctx, "r")
			if err != nil {
				t.Fatal(err)
			}
			if lost > 0 {
				if err := a.Beat(ctx); err != nil {
					t.Fatal(err)
				}
			}
			server.Promote(lost)
			seen := st.Term.Holder.Beat
			if err := q.Evict(ctx, a.ID(), seen, lock.End{By: "b", Why: "silent"}); !errors.Is(err, lock.ErrMoved) {
				t.Errorf("%s: an eviction by a beat of the era before: %v, want ErrMoved", what, err)
			}
			if err := errors.Join(a.Beat(ctx), a.Release(ctx, "r", token)); err != nil {
				t.Errorf("%s: the session that was not silent: %v", what, err)
			}
		})
	}
}

// TestTermIsLost: a token that a new era has lost is not given again, not even by a process that
// never saw it.
func TestTermIsLost(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		server := objectmem.New()
		p := open(t, server)
		a, b := p.register(ctx, "a"), p.register(ctx, "b")
		if err := errors.Join(b.Beat(ctx), b.Beat(ctx), b.Beat(ctx)); err != nil {
			t.Fatal(err)
		}
		lost := p.acquire(ctx, a, "r")
		server.Promote(4)
		q := open(t, server)
		c := q.register(ctx, "c")
		if token := q.acquire(ctx, c, "r"); token <= lost {
			t.Errorf("token %d after %d, which was lost", token, lost)
		}
		if _, err := b.TryAcquire(ctx, "r"); !errors.Is(err, lock.ErrHeld) && !errors.Is(err, lock.ErrMoved) {
			t.Errorf("acquired by one that saw the term that was lost: %v", err)
		}
	})
}

// TestReplyAndEraAreLost: a call whose write went with the era before is made again in the new one.
func TestReplyAndEraAreLost(t *testing.T) {
	for lost, want := range map[int]error{1: nil, 2: lock.ErrOtherStore} { // the beat; the object, too
		in(t, func(t *testing.T, ctx context.Context) {
			server := objectmem.New()
			p := open(t, server)
			a := p.register(ctx, "a")
			p.on("Put", 2, kvmem.Fault{After: func(context.Context) error {
				server.Promote(lost)
				return errLost
			}})
			if err := a.Beat(ctx); !errors.Is(err, want) {
				t.Errorf("a beat whose reply and effect were lost, with %d writes: %v, want %v", lost, err, want)
			}
		})
	}
}
