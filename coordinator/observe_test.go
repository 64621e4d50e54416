package coordinator

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// follow collects what an Observe yields until it ends, each as one word.
func follow(ctx context.Context, l lock.Locker) (read func() []string) {
	var all []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for term, err := range Observe(ctx, l, "r") {
			who := term.Holder.ID + "@" + term.Holder.Address
			if term.Vacant() {
				who = "nobody"
			}
			if err != nil {
				who += fmt.Sprintf(" (%v)", err)
			}
			all = append(all, who)
		}
	}()
	return func() []string { <-done; return all }
}

// TestObserve follows two terms from outside, through an outage of the store and the
// silence of an active of which nobody but the observer knows.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		l := &failing{Locker: s.store.Open()}
		ctx, cancel := context.WithCancel(t.Context())
		read := follow(ctx, l)
		synctest.Wait()

		at := func(id string) Config { c := config(id); c.Address = id + ":1"; return c }
		stopA := s.contend(at("a"), untilTold)
		time.Sleep(time.Minute)
		stopB := s.contend(at("b"), untilTold) // one more in line is not a change
		time.Sleep(time.Minute)
		_ = stopA()
		time.Sleep(time.Second)

		l.fail(errors.New("down"))
		time.Sleep(time.Minute)
		l.fail(nil)
		time.Sleep(time.Second)

		_ = stopB()
		time.Sleep(time.Second)
		cut := &link{Locker: s.store.Open()}
		stopC := s.contendOver(cut, at("c"), untilTold)
		time.Sleep(time.Second)
		cut.cut.Store(true)
		time.Sleep(time.Minute)
		cut.cut.Store(false)
		time.Sleep(2 * config("c").TTL) // then it is in line again
		cancel()
		got := read()
		_ = stopC()
		// c came back under a new term, after its own loss.
		want := []string{
			"nobody", "a@a:1", "nobody", "b@b:1", "b@b:1 (down)", "b@b:1", "nobody", "c@c:1",
			"c@c:1 (" + ErrSilent.Error() + ")", "nobody", "c@c:1",
		}
		// Between two terms nobody may be active for no time at all: that may be skipped.
		drop := func(all []string) []string {
			return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "nobody" })
		}
		if !slices.Equal(drop(got), drop(want)) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if len(got) == 0 || got[0] != "nobody" {
			t.Errorf("the first is %q, want nobody", got)
		}
	})
}

// TestObserveSlowly is a consumer that is busy for longer than the promise: it sees
// neither silence nor what was overtaken.
func TestObserveSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stop := s.contend(config("a"), untilTold)
		time.Sleep(time.Second)
		n := 0
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		for term, err := range Observe(ctx, s.store.Open(), "r") {
			if err != nil || term.Holder.ID != "a" {
				t.Errorf("%v: active: %q", err, term.Holder.ID)
			}
			n++
			time.Sleep(time.Minute)
		}
		if n != 1 {
			t.Errorf("yielded %d times what did not change, want 1", n)
		}
		_ = stop()
	})
}

// TestObserveBreak leaves nothing behind where the consumer breaks off; the bubble
// would not end otherwise.
func TestObserveBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		for range Observe(context.Background(), s.store.Open(), "r") {
			break
		}
	})
}

// A failing Locker's watch fails for as long as it is told to.
type failing struct {
	lock.Locker
	broken chan struct{} // closed when it is to fail
	err    error
	mended chan struct{}
}

func (f *failing) fail(err error) {
	if err == nil {
		close(f.mended)
		return
	}
	f.err, f.mended = err, make(chan struct{})
	close(f.broken)
}

func (f *failing) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	f.broken = make(chan struct{})
	return func(yield func(lock.Standing, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-f.broken:
				cancel()
			case <-inner.Done():
			}
		}()
		for st, err := range f.Locker.Watch(inner, roles...) {
			if inner.Err() != nil || !yield(st, err) {
				break
			}
		}
		for ctx.Err() == nil {
			select {
			case <-f.mended:
				return
			default:
				if !yield(lock.Standing{}, f.err) {
					return
				}
			}
		}
	}
}
