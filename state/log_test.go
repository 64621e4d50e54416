package state_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/backends/object/objectmem"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state"
)

// TestTakeover: a standby follows, says how old it is, and knows everything when it takes over.
func TestTakeover(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.start("a", options[*book]{})
		first := a.term()
		b := r.start("b", options[*book]{})
		a.append(first, "x=1", "y=2", "x=3")
		want := map[string]string{"x": "3", "y": "2"}
		if age := sees(a, want); age != 0 {
			r.Errorf("the active's state is %v old", age)
		}
		if age := sees(b, want); age <= 0 || age > 2*time.Second {
			r.Errorf("the standby's state is %v old", age)
		}
		if !b.log.Ready("r") || !b.log.Ready("another") {
			r.Error("a standby that knows everything is not ready")
		}
		a.kill()
		next := b.term()
		if age := sees(b, want); age != 0 {
			r.Errorf("after the takeover the state is %v old", age)
		}
		b.append(next, "z=4")
		want["z"] = "4"
		a = r.start("a", options[*book]{})
		sees(a, want)
		b.halt()
		a.append(a.term(), "x=5")
		want["x"] = "5"
		sees(a, want)
		a.halt()
	})
}

// TestStale: a term that is over appends nothing, whether or not it knows that.
func TestStale(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.start("a", options[*book]{})
		first := a.term()
		a.append(first, "x=1")
		l, _ := r.open()
		defer l.Close()
		var holder lock.Member
		for st, err := range l.Watch(r.Context(), "r") {
			r.must(err)
			holder = st.Term.Holder
			break
		}
		b := r.start("b", options[*book]{})
		sees(b, map[string]string{"x": "1"})
		r.must(l.Evict(r.Context(), holder.Session, lock.AnyBeat, lock.End{By: "test"}))
		next := b // or a, once it has heard of its end: the store decides
		var second tenure
		select {
		case second = <-a.terms:
			next = a
		case second = <-b.terms:
		case <-time.After(10 * time.Minute):
			r.Fatal("nobody got the next term")
		}
		err := a.log.Append(r.Context(), first.Term, []byte("x=stale"))
		for errors.Is(err, state.ErrUnknown) { // a heard of its end meanwhile
			err = a.log.Append(r.Context(), first.Term, []byte("x=stale"))
		}
		var stale *fencing.StaleError
		if !errors.As(err, &stale) {
			r.Errorf("an append of a term that is over: %v", err)
		}
		next.append(second, "y=2")
		for _, p := range []*process[*book]{a, b} {
			sees(p, map[string]string{"x": "1", "y": "2"})
			p.halt()
		}
	})
}

// TestShared: appends at the same time share commits, and each is applied once.
func TestShared(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.start("a", options[*book]{})
		term := a.term()
		if a.client != nil {
			a.client.On(func(kvmem.Call) kvmem.Fault { return kvmem.Delay(time.Millisecond, time.Millisecond) })
		}
		const n = 300
		var group sync.WaitGroup
		for i := range n {
			group.Go(func() { r.must(a.log.Append(r.Context(), term.Term, fmt.Appendf(nil, "%d=v", i))) })
		}
		group.Wait()
		if _, err := a.log.Read(func(b *book) {
			if b.Count != n || len(b.Pages) != n {
				r.Errorf("%d commands were applied, to %d pages", b.Count, len(b.Pages))
			}
		}); err != nil {
			r.Error(err)
		}
		if records := len(r.keys()); records > 20 && a.client != nil { // a store that takes no time has nothing to share
			r.Errorf("%d records for %d appends at the same time", records, n)
		}
		a.halt()
	})
}

// TestSnapshots: the log is cut again and again, newcomers begin with the snapshot, and nothing is
// left that the head does not name.
func TestSnapshots(t *testing.T) {
	inBubble(t, func(r *rig) {
		o := options[*book]{Options: state.Options{Every: 2000}}
		a := r.start("a", o)
		term := a.term()
		b := r.start("b", o)
		want := map[string]string{}
		for i := range 200 {
			key, value := fmt.Sprint(i%7), fmt.Sprint(i)
			a.append(term, key+"="+value)
			want[key] = value
		}
		time.Sleep(time.Second) // of virtual time
		all := r.keys()
		if n := len(all); n > 40 {
			r.Errorf("%d records are left after 200 entries", n)
		}
		sees(b, want)
		c := r.start("c", o)
		sees(c, want)
		_, err := c.log.Read(func(b *book) {
			if b.Count != 200 {
				r.Errorf("who began with the snapshot counts %d", b.Count)
			}
		})
		r.must(err)
		for _, p := range []*process[*book]{c, b, a} {
			p.halt()
		}
	})
}

// TestRefused: what cannot be done is refused with the field, the value and the limit, before
// anything is written.
func TestRefused(t *testing.T) {
	inBubble(t, func(r *rig) {
		l, _ := r.open()
		defer l.Close()
		refused := func(what string, l lock.Locker, role string, o state.Options, want string) {
			t.Helper()
			if _, err := state.Open(r.Context(), l, role, newBook, o); !errors.Is(err, lock.ErrPermanent) || !contains(err, want) {
				r.Errorf("%s: %v", what, err)
			}
		}
		o := object.Open(objectmem.New().Open(), 1<<20)
		defer o.Close()
		refused("a store without values", o, "r", state.Options{}, "state: this store keeps no values, and a log is made of them: use one of raft, etcd, consul and memory;")
		refused("no role", l, "", state.Options{}, "must not be empty")
		refused("a long role", l, fmt.Sprintf("%0250d", 1), state.Options{}, "the limit is 256")
		refused("a short lag", l, "r", state.Options{MaxLag: 1}, "MaxLag: 1ns must be at least 2s")
		refused("a short try", l, "r", state.Options{Try: 1}, "Try: 1ns must be at least 10ms")
		refused("no size", l, "r", state.Options{Every: -1}, "Every: -1 must be at least 1")
		idle, err := state.Open(r.Context(), l, "r", newBook, state.Options{})
		r.must(err)
		if _, err := idle.Read(func(*book) {}); !errors.Is(err, state.ErrNotLoaded) || idle.Ready("r") {
			r.Errorf("before anything was read: %v", err)
		}
		a := r.start("a", options[*book]{})
		term := a.term()
		if err := a.log.Append(r.Context(), term.Term, make([]byte, 1<<20)); !errors.Is(err, lock.ErrPermanent) || !contains(err, "a command of 1048576 bytes, the limit is 258048") {
			r.Errorf("a large command: %v", err)
		}
		done, cancel := context.WithCancel(r.Context())
		cancel()
		if err := a.log.Append(done, term.Term, []byte("x=1")); err != nil && !errors.Is(err, context.Canceled) {
			r.Errorf("with a context that is done: %v", err)
		}
		a.append(term, "y=2")
		a.halt()
		if err := a.log.Append(r.Context(), term.Term, []byte("x=1")); !errors.Is(err, fencing.ErrStale) {
			r.Errorf("after the work has returned: %v", err)
		}
	})
}
