package kvtest

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/lock"
)

// counting counts what a follower asks of its store.
type counting struct {
	kv.Store
	reads, follows atomic.Int64
	held           atomic.Bool // a reading of everything is not answered any more
}

func (c *counting) Read(ctx context.Context, keys ...string) (kv.View, error) {
	if strings.HasSuffix(keys[0], "/") {
		c.reads.Add(1)
		if c.held.Load() {
			<-ctx.Done()
			return kv.View{}, ctx.Err()
		}
	}
	return c.Store.Read(ctx, keys...)
}

func (c *counting) Follow(ctx context.Context, since kv.View, keys ...string) iter.Seq2[[]kv.Record, error] {
	c.follows.Add(1)
	return c.Store.Follow(ctx, since, keys...)
}

// foreignValueIsQuiet puts a foreign value in one role's key. Its watch says so once, and
// shows the changes of the other role all the same; nothing is read or followed anew for it.
func foreignValueIsQuiet(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	prefix := "quiet/" + rand.Text()
	c := &counting{Store: open()}
	own, watcher, hand := kv.NewLocker(open(), prefix), kv.NewLocker(c, prefix), kv.NewHand(open(), prefix)
	defer func() { must(t, errors.Join(own.Close(), watcher.Close(), hand.Close())) }()
	a, err := own.Register(ctx, lock.Contender{ID: "a", Session: lock.SessionID(rand.Text())}, long, lock.Bid{Role: "r"}, lock.Bid{Role: "x"})
	must(t, err)
	_, err = a.TryAcquire(ctx, "r")
	must(t, err)
	token, err := a.TryAcquire(ctx, "x")
	must(t, err)
	type said struct {
		lock.Standing
		err error
	}
	all, done := make(chan said, 100), make(chan struct{})
	watching, end := context.WithCancel(ctx)
	go func() {
		defer close(done)
		for st, err := range watcher.Watch(watching, "r", "x") {
			all <- said{st, err}
		}
	}()
	defer func() { end(); <-done }()
	refusals := 0
	until := func(what string, is func(said) bool) {
		t.Helper()
		for {
			select {
			case s := <-all:
				if s.err != nil {
					refusals++
				}
				if is(s) {
					return
				}
			case <-ctx.Done():
				t.Fatalf("%s is not shown", what)
			}
		}
	}
	holds := func(s said) bool { return s.Role == "x" && s.Term.Token == token && !s.Term.Vacant() }
	until("who holds x", holds)
	passOn := func() {
		t.Helper()
		must(t, a.Release(ctx, "x", token))
		until("the release of x", func(s said) bool { return s.Role == "x" && s.Term.Vacant() })
		token, err = a.TryAcquire(ctx, "x")
		must(t, err)
		until("the next term of x", holds)
	}
	passOn() // it is followed now
	reads, follows := c.reads.Load(), c.follows.Load()
	must(t, hand.Overwrite(ctx, "r"))
	until("the foreign value", func(s said) bool { return errors.Is(s.err, lock.ErrPermanent) && s.Role == "r" })
	for range 10 { // that this is shown is how the test knows that all before was
		passOn()
		must(t, hand.Overwrite(ctx, "r"))
	}
	reads, follows = c.reads.Load()-reads, c.follows.Load()-follows
	if refusals != 1 || reads > 0 || follows > 0 {
		t.Errorf("for a foreign value: told %d times, read %d times, followed anew %d times; want once, and never", refusals, reads, follows)
	}
}

// requestIsSeenAtOnce asks the active, in a process that has just begun to watch, to hand
// its role over. The request is shown although no reading of everything is answered any more.
func requestIsSeenAtOnce(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	prefix := "request/" + rand.Text()
	c := &counting{Store: open()}
	own, other := kv.NewLocker(c, prefix), kv.NewLocker(open(), prefix)
	defer func() { must(t, errors.Join(own.Close(), other.Close())) }()
	b, a := join(ctx, t, other, "b"), join(ctx, t, own, "a")
	token, err := a.TryAcquire(ctx, "r")
	must(t, err)
	asked := false
	for st, err := range own.Watch(ctx, "r") {
		if err != nil {
			t.Fatalf("after asking (%v): %v", asked, err)
		}
		switch {
		case st.Request.To == b.ID() && st.Request.Token == token:
			return
		case !asked && st.Term.Token == token && len(st.Line) == 1:
			asked = true
			c.held.Store(true)
			must(t, other.Ask(ctx, "r", lock.Request{Token: token, To: b.ID(), By: "an operator"}))
		}
	}
	t.Error("the request is not shown without another reading of everything")
}
