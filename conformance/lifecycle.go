package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// calls are all calls of the contract, each as one that would write.
func calls(l lock.Locker, s lock.Session, c lock.Contender, p lock.Promise, role string, token lock.Token, seen lock.Beat, to lock.SessionID) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Register":   func(ctx context.Context) error { _, err := l.Register(ctx, c, p, lock.Bid{Role: role}); return err },
		"Evict":      func(ctx context.Context) error { return l.Evict(ctx, s.ID(), seen, lock.End{By: "the suite"}) },
		"Ask":        func(ctx context.Context) error { return l.Ask(ctx, role, lock.Request{Token: token, To: to}) },
		"Raise":      func(ctx context.Context) error { return l.Raise(ctx, token+1_000_000) },
		"Beat":       func(ctx context.Context) error { return s.Beat(ctx, lock.Bid{Role: role, Priority: 8}) },
		"TryAcquire": func(ctx context.Context) error { _, err := s.TryAcquire(ctx, role+" too"); return err },
		"Release":    func(ctx context.Context) error { return s.Release(ctx, role, token) },
		"Handoff":    func(ctx context.Context) error { return s.Handoff(ctx, role, token, to) },
		"Close":      s.Close,
	}
}

func contextDone(t *trial) {
	l, role := t.open(), t.named("r")
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	token := t.acquire(a, role)
	before, done := t.look(l, role), func() context.Context {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		return ctx
	}()
	for name, call := range calls(l, a, t.contender("c"), t.promise(), role, token, before.Term.Holder.Beat, b.ID()) {
		if err := call(done); isKnown(err) {
			t.errorf("%s under a context that is done: %s, want an error without a name", name, outcome(err))
		}
		st := t.look(l, role)
		if fmt.Sprint(st) != fmt.Sprint(before) {
			t.fatalf("%s under a context that is done changed the standing from %+v to %+v", name, before, st)
		}
		if st := t.look(l, role+" too"); st.Term.Token != 0 {
			t.fatalf("%s under a context that is done began a term: %+v", name, st.Term)
		}
	}
	t.await(t.open(), role, fmt.Sprintf("as before the calls under a context that is done: %+v", before), func(st lock.Standing) bool {
		return fmt.Sprint(st) == fmt.Sprint(before)
	})
}

// contextObeyed makes every call while the store cannot be reached. None may claim to know its
// outcome.
func contextObeyed(t *trial) {
	near, role := t.open(), t.named("r")
	a, b := t.join(near, "a", role), t.join(near, "b", role)
	token := t.acquire(a, role)
	seen := beatOf(t.look(near, role), a.ID())
	t.network("cut", near.Cut)
	for _, cancelled := range []bool{false, true} {
		for name, call := range calls(near, a, t.contender("c"), t.promise(), role, token, seen, b.ID()) {
			ctx, cancel := context.WithTimeout(t.ctx, 200*time.Millisecond)
			if cancelled {
				ctx, cancel = context.WithCancel(t.ctx)
				time.AfterFunc(200*time.Millisecond, cancel)
			}
			t.obeys(ctx, name, call)
			cancel()
		}
	}
	t.network("heal", near.Heal)
	t.settle(t.freeAndJoin(near, role, a, b), role)
}

// obeys makes a call while the store cannot be reached, and tells it to end after 200 ms.
func (t *trial) obeys(ctx context.Context, name string, call func(ctx context.Context) error) {
	begun := time.Now()
	err := call(ctx)
	took := time.Since(begun)
	if isKnown(err) {
		t.errorf("%s to a store that cannot be reached: %s, want an error without a name", name, outcome(err))
	}
	if took > 300*time.Millisecond+t.slack()/2 {
		t.errorf("%s to a store that cannot be reached returns %v after it was told to after 200ms", name, took)
	}
}

// freeAndJoin ends sessions whose state is not known any more, and joins anew.
func (t *trial) freeAndJoin(l lock.Locker, role string, old ...lock.Session) lock.Session {
	for _, s := range old {
		t.end(s)
	}
	return t.join(l, "after", role)
}

func sessionClose(t *trial) {
	l := t.open()
	roles := []string{t.named("r"), t.named("s"), t.named("t")}
	a := t.join(l, "a", roles...)
	b := t.join(l, "b", roles...)
	tokens := map[string]lock.Token{}
	for _, role := range roles {
		tokens[role] = t.acquire(a, role)
	}
	t.must("hand off", func(ctx context.Context) error { return a.Handoff(ctx, roles[2], tokens[roles[2]], b.ID()) })
	stays := t.acquire(b, roles[2])
	t.end(a)
	for _, role := range roles[:2] {
		st := t.look(l, role)
		if !st.Term.Vacant() || st.Term.Token != tokens[role] || len(st.Line) != 1 {
			t.errorf("after its holder was closed: %+v", st)
		}
		if st.Term.End == (lock.End{}) {
			t.errorf("after a session was closed its end is not written: %+v", st.Term)
		}
		t.acquire(b, role)
	}
	if st := t.look(l, roles[2]); !holds(stays)(st) {
		t.errorf("closing a session ended another's term: %+v", st.Term)
	}
	for name, call := range map[string]func(ctx context.Context) error{
		"Beat":       func(ctx context.Context) error { return a.Beat(ctx) },
		"TryAcquire": func(ctx context.Context) error { _, err := a.TryAcquire(ctx, roles[0]); return err },
	} {
		t.want(lock.ErrLost, name+" after Close", call)
	}
	t.release(a, roles[0], tokens[roles[0]])
}

func sessionCloseAgain(t *trial) {
	l, role := t.open(), t.named("r")
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	t.acquire(a, role)
	t.together(8, func(int) { t.end(a) })
	token := t.acquire(b, role)
	t.end(a)
	if st := t.look(l, role); !holds(token)(st) {
		t.errorf("a session that was closed once more ended another's term: %+v", st.Term)
	}
	c := t.join(l, "c", role)
	t.evict(l, role, b.ID())
	next := t.acquire(c, role)
	t.end(b) // after its eviction
	if st := t.look(l, role); !holds(next)(st) {
		t.errorf("a session that was closed after its eviction ended another's term: %+v", st.Term)
	}
}

func sessionCloseAbsent(t *trial) {
	l, role := t.open(), t.named("r")
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	t.acquire(a, role)
	t.must("delete the session's record", func(ctx context.Context) error { return t.store.DeleteSession(ctx, a.ID()) })
	t.end(a)
	t.acquire(b, role)
}

func lockerClose(t *trial) {
	role := t.named("r")
	far := t.open()
	var near *Client
	t.must("open", func(ctx context.Context) (err error) { near, err = t.store.Open(ctx); return err })
	a := t.join(near, "a", role)
	token := t.acquire(a, role)
	f := t.follow(near, role)
	f.until("the term", role, holds(token))
	begun := time.Now()
	t.together(5, func(int) {
		if err := near.Close(); err != nil {
			t.errorf("close: %v", err)
		}
	})
	if took := time.Since(begun); took > 5*time.Second {
		t.errorf("Close took %v", took)
	}
	f.stop()
	for name, call := range calls(near, a, t.contender("c"), t.promise(), role, token, lock.Absent, a.ID()) {
		if err := t.one(call); isKnown(err) && !errors.Is(err, lock.ErrPermanent) {
			t.errorf("%s after Close: %s, want an error without a name", name, outcome(err))
		}
	}
	if err := near.Close(); err != nil {
		t.errorf("close once more: %v", err)
	}
	st := t.await(far, role, "the term, which closing a Locker does not end", holds(token))
	if st.Term.Holder.Beat == lock.Absent {
		t.errorf("closing a Locker ended a session: %+v", st.Term)
	}
	t.evict(far, role, a.ID())
}

// lockerCloseCut closes a Locker whose calls hang.
func lockerCloseCut(t *trial) {
	role := t.named("r")
	var near *Client
	t.must("open", func(ctx context.Context) (err error) { near, err = t.store.Open(ctx); return err })
	a := t.join(near, "a", role)
	t.network("cut", near.Cut)
	ctx, cancel := context.WithTimeout(t.ctx, t.TTL/4)
	begun := time.Now()
	if err := a.Close(ctx); isKnown(err) {
		t.errorf("close a session while the store cannot be reached: %s, want an error without a name", outcome(err))
	}
	cancel()
	if took := time.Since(begun); took > t.TTL/4+100*time.Millisecond+t.slack() {
		t.errorf("closing a session while the store cannot be reached took %v", took)
	}
	hung := make(chan error, 1)
	go func() { hung <- a.Beat(t.ctx) }()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for _, err := range near.Watch(t.ctx, role) {
			if err != nil && near.Close() != nil { // from anywhere
				t.errorf("close inside a watch failed")
			}
			if t.pause(time.Millisecond); t.ctx.Err() != nil || err != nil {
				return
			}
		}
	}()
	t.pause(50 * time.Millisecond)
	begun = time.Now()
	if err := near.Close(); err != nil {
		t.errorf("close: %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second+t.slack() {
		t.errorf("closing a Locker whose store cannot be reached took %v", took)
	}
	select {
	case err := <-hung:
		if isKnown(err) {
			t.errorf("a beat that hung when its Locker was closed: %s, want an error without a name", outcome(err))
		}
	case <-time.After(5*time.Second + t.slack()):
		t.errorf("a beat that hung still hangs %v after its Locker was closed", time.Since(begun))
	}
	if !within(watched, 5*time.Second+t.slack()) {
		t.errorf("a watch still goes on %v after its Locker was closed", time.Since(begun))
	}
}

// nothingLeft goes through 1,000 sessions and 30 Lockers, and counts goroutines and
// descriptors.
func nothingLeft(t *trial) {
	role := t.named("r")
	l := t.open()
	cycle := func(l lock.Locker, id string) {
		s := t.join(l, id, role+id)
		t.acquire(s, role+id)
		t.look(l, role+id)
		t.end(s)
	}
	reopen := func() {
		var c *Client
		t.must("open", func(ctx context.Context) (err error) { c, err = t.store.Open(ctx); return err })
		f := t.follow(c, role)
		cycle(c, "a")
		f.stop()
		if err := c.Close(); err != nil {
			t.errorf("close: %v", err)
		}
	}
	for range 5 { // anything kept for good is there now
		t.together(20, func(i int) { cycle(l, fmt.Sprint(i)) })
		reopen()
	}
	t.flat("1,000 sessions", 100, func() {
		t.together(20, func(i int) {
			for range 50 {
				cycle(l, fmt.Sprint(i))
			}
		})
	})
	t.flat("30 Lockers", 20, func() {
		for range 30 {
			reopen()
		}
	})
}

// flat expects that there are not many more goroutines and descriptors after f than before it. A
// few may be: connections that are kept for the next call. Consul ends a blocking query that
// nobody waits for any more only when its time is over, 10 s.
func (t *trial) flat(what string, more int, f func()) {
	before, files := runtime.NumGoroutine(), descriptors()
	f()
	var after, open int
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); t.pause(50 * time.Millisecond) {
		if after, open = runtime.NumGoroutine(), descriptors(); after <= before+more && open <= files+more {
			return
		}
	}
	t.errorf("%d goroutines and %d descriptors before %s, %d and %d after:\n%s", before, files, what, after, open, stacks())
}

// descriptors is how many files and connections this process has open; 0 if the system does not
// say.
func descriptors() int {
	all, _ := os.ReadDir("/dev/fd")
	return len(all)
}
