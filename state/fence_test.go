package state_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state"
)

// A hand begins and ends terms with no coordinator above it, which would stop work in time: so a test
// can have any two steps meet.
type hand struct {
	*rig
	log     *state.Log[*scroll]
	session lock.Session
	locker  lock.Locker
}

func (r *rig) hand(id string) *hand {
	r.Helper()
	h := &hand{rig: r}
	h.locker, _ = r.open()
	var err error
	h.session, err = h.locker.Register(r.Context(), lock.Contender{ID: id, Session: lock.SessionID(id + "-1")}, lock.Promise{TTL: time.Minute}, lock.Bid{Role: "r"})
	r.must(err)
	h.log, err = state.Open(r.Context(), h.locker, "r", func() *scroll { return &scroll{} }, state.Options{Now: coordinator.Virtual})
	r.must(err)
	r.Cleanup(func() { _ = h.locker.Close() })
	return h
}

// take ends whose term it is, and begins one.
func (h *hand) take(of *hand) coordinator.Term {
	h.Helper()
	if of != nil {
		h.must(h.locker.Evict(h.Context(), of.session.ID(), lock.AnyBeat, lock.End{By: "test"}))
	}
	token, err := h.session.TryAcquire(h.Context(), "r")
	h.must(err)
	return coordinator.Term{Role: "r", Token: token}
}

// work has f do the work of a term.
func (h *hand) work(t coordinator.Term, f func()) error {
	return h.log.Work(func(context.Context, coordinator.Term) error { f(); return nil })(h.Context(), t)
}

// follow applies what there is, and then no more.
func (h *hand) follow() {
	ctx, cancel := context.WithTimeout(h.Context(), time.Second)
	defer cancel()
	h.must(h.log.Standby(ctx, "r"))
}

func (h *hand) shows() (all []string) {
	h.Helper()
	_, err := h.log.Read(func(s *scroll) { all = slices.Clone(s.All) })
	h.must(err)
	return all
}

// TestFence: when the next term has begun, the store refuses what the one before appends, though that does not know, and
// though the next one has written nothing yet. Later the log's head would refuse it, too; until then the fence alone does.
func TestFence(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.hand("a"), r.hand("b")
		first := a.take(nil)
		ended := a.work(first, func() {
			r.must(a.log.Append(r.Context(), first, []byte("in time")))
			second := b.take(a)
			err := a.log.Append(r.Context(), first, []byte("too late"))
			var stale *fencing.StaleError
			if !errors.As(err, &stale) || stale.Token != first.Token || stale.Current != second.Token {
				r.Errorf("an append of term %d in term %d: %v", first.Token, second.Token, err)
			}
			r.must(b.work(second, func() {
				if all := b.shows(); !slices.Equal(all, []string{"in time"}) {
					r.Errorf("the next term begins with %q", all)
				}
			}))
		})
		if !errors.Is(ended, fencing.ErrStale) {
			r.Errorf("the work of term %d ended with %v", first.Token, ended)
		}
	})
}

// TestWorkReturnsAtOnce: a work that returns as soon as an append is refused is not done for good, whatever it
// returns.
func TestWorkReturnsAtOnce(t *testing.T) {
	for range 100 {
		inBubble(t, func(r *rig) {
			a, b := r.hand("a"), r.hand("b")
			first := a.take(nil)
			ended := a.work(first, func() {
				b.take(a)
				if err := a.log.Append(r.Context(), first, []byte("too late")); err == nil {
					r.Error("a stale append is acknowledged")
				}
			})
			if !errors.Is(ended, fencing.ErrStale) {
				r.Errorf("the work ended with %v", ended)
			}
		})
	}
}

// TestBarrier: the work of a term sees all that was acknowledged in earlier ones, though the process had heard of none of
// it; and it can append at once.
func TestBarrier(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.hand("a"), r.hand("b")
		first := a.take(nil)
		var want []string
		add := func(h *hand, t coordinator.Term, n int) {
			for range n {
				want = slices.Concat(want, []string{fmt.Sprint(len(want))})
				r.must(h.log.Append(r.Context(), t, []byte(want[len(want)-1])))
			}
		}
		r.must(a.work(first, func() {
			add(a, first, 1)
			b.follow()
			add(a, first, 50) // more than one reading
		}))
		if all := b.shows(); len(all) != 1 {
			r.Fatalf("the standby is to be behind, and shows %q", all)
		}
		second := b.take(a)
		r.must(b.work(second, func() {
			if all := b.shows(); !slices.Equal(all, want) {
				r.Errorf("the work begins with %q, want %q", all, want)
			}
			add(b, second, 1)
		}))
		c := r.hand("c")
		c.follow()
		if all := c.shows(); !slices.Equal(all, want) {
			r.Errorf("the log has %q, want %q", all, want)
		}
	})
}
