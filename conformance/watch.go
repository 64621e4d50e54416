package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

func watchFirst(t *trial) {
	l, role := t.open(), t.named("r")
	st := t.look(l, role)
	if !st.Term.Vacant() || st.Term.Token != 0 || len(st.Line) != 0 || st.Request != (lock.Request{}) {
		t.errorf("a role that nobody ever bid for: %+v", st)
	}
	f := t.follow(l, role, t.named("s"))
	f.until("the first role", role, vacant)
	f.until("the second role", t.named("s"), vacant)
	c := t.contender("a")
	t.register(t.open(), c, lock.Bid{Role: role, Priority: 4})
	f.until("a line of one", role, func(st lock.Standing) bool {
		if len(st.Line) != 1 {
			return false
		}
		m := st.Line[0]
		return m.ID == c.ID && m.Address == c.Address && fmt.Sprint(m.Labels) == fmt.Sprint(c.Labels) && m.Session == c.Session &&
			m.Promise == t.promise() && m.Priority == 4 && m.Beat != lock.Absent
	})
}

func watchAll(t *trial) {
	l := t.open()
	held, bid, later := t.named("held"), t.named("bid for"), t.named("later")
	a := t.join(l, "a", held, bid)
	token := t.acquire(a, held)
	f := t.follow(t.open())
	f.until("the role that is held", held, holds(token))
	f.until("the role that is bid for", bid, vacant)
	b := t.join(l, "b", later)
	f.until("a role that is new", later, vacant)
	taken := t.acquire(b, later)
	f.until("a role that is new and was taken", later, holds(taken))
	t.end(a)
	f.until("the end", held, vacant)
}

// watchChanges makes every kind of change; every watch must see each.
func watchChanges(t *trial) {
	role := t.named("r")
	l := t.open()
	var followers []*follower
	for i := range 4 { // two of them share a Locker
		if i != 2 {
			l = t.open()
		}
		followers = append(followers, t.follow(l, role))
	}
	see := func(what string, ok func(lock.Standing) bool) {
		begun := time.Now()
		for i, f := range followers {
			f.until(what, role, ok)
			if took, most := time.Since(begun), t.slack()+t.TTL; took > most { // the line may be a TTL old
				t.errorf("watch %d shows %s after %v, want at most %v", i, what, took, most)
			}
		}
	}
	lineOf := func(ids ...lock.SessionID) func(lock.Standing) bool {
		return func(st lock.Standing) bool {
			var got []lock.SessionID
			for _, m := range st.Line {
				got = append(got, m.Session)
			}
			return fmt.Sprint(got) == fmt.Sprint(ids)
		}
	}
	a := t.join(t.open(), "a", role)
	see("the first registration", lineOf(a.ID()))
	b := t.join(t.open(), "b", role)
	see("the second registration", lineOf(a.ID(), b.ID()))
	t.must("bid", func(ctx context.Context) error { return b.Beat(ctx, lock.Bid{Role: role, Priority: 2}) })
	see("another order", lineOf(b.ID(), a.ID()))
	token := t.acquire(a, role)
	see("an acquisition", holds(token))
	t.release(a, role, token)
	see("a release", vacant)
	token = t.acquire(a, role)
	see("another acquisition", holds(token))
	t.must("hand off", func(ctx context.Context) error { return a.Handoff(ctx, role, token, b.ID()) })
	token = t.acquire(b, role)
	see("a handoff", holds(token))
	why := t.evict(t.open(), role, b.ID())
	see("an eviction", func(st lock.Standing) bool { return st.Term.End == why && vacant(st) })
	token = t.acquire(a, role)
	see("the takeover", holds(token))
	c := t.join(t.open(), "c", role)
	t.evict(t.open(), role, c.ID())
	see("the eviction of a standby", func(st lock.Standing) bool { return holds(token)(st) && len(st.Line) == 0 })
	t.end(a)
	see("the holder's close", vacant)
}

func watchOwn(t *trial) {
	l, role := t.open(), t.named("r")
	s := t.join(l, "a", role)
	rounds := 50
	if t.Far > 0 { // each takes some ten trips
		rounds = 5
	}
	for range rounds {
		token := t.acquire(s, role)
		if st := t.look(l, role); !holds(token)(st) {
			t.fatalf("a watch of the Locker that acquired term %d first shows %+v", token, st.Term)
		}
		t.release(s, role, token)
		if st := t.look(l, role); !st.Term.Vacant() || st.Term.Token != token {
			t.fatalf("a watch of the Locker that released term %d first shows %+v", token, st.Term)
		}
	}
}

// watchForward starts one watch after another, of one Locker, while others write: what they show
// only goes forward.
func watchForward(t *trial) {
	role := t.named("r")
	l := t.open()
	s := t.join(t.open(), "a", role)
	writes := make(chan struct{})
	go func() {
		defer close(writes)
		for range 60 {
			t.settle(s, role)
		}
	}()
	var last lock.Term
	for running := true; running; {
		select {
		case <-writes:
			running = false
		default:
		}
		now := t.look(l, role).Term
		if now.Token < last.Token || now.Token == last.Token && last.Over != "" && now.Over == "" {
			t.errorf("a watch shows %+v after another of the same Locker showed %+v", now, last)
			break
		}
		last = now
		t.pause(time.Millisecond)
	}
	<-writes
}

func watchBroken(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	f := t.follow(near, role)
	f.until("a vacant role", role, vacant)
	s := t.join(far, "a", role)
	for i := range 2 {
		t.network("cut", near.Cut)
		token := t.acquire(s, role)
		t.pause(time.Duration(i) * t.TTL)
		t.network("heal", near.Heal)
		f.until("what changed while it was cut off", role, holds(token))
		t.release(s, role, token)
		f.until("what changed after it was cut off", role, vacant)
	}
}

func watchCompacted(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	f := t.follow(near, role)
	s := t.join(far, "a", role)
	f.until("a registration", role, func(st lock.Standing) bool { return len(st.Line) == 1 })
	for range 2 {
		t.network("cut", near.Cut)
		for range 20 {
			t.settle(s, role)
		}
		token := t.acquire(s, role)
		t.must("compact", t.store.Compact)
		t.network("heal", near.Heal)
		f.until("the last term before the history was dropped", role, holds(token))
		t.release(s, role, token)
		f.until("a release after the history was dropped", role, vacant)
	}
}

func watchRestart(t *trial) {
	role := t.named("r")
	l := t.open()
	f := t.follow(t.open(), role)
	s := t.join(l, "a", role)
	for range 2 {
		token := t.acquire(s, role)
		f.until("an acquisition", role, holds(token))
		t.disturb("restart", t.store.Restart)
		t.release(s, role, token)
		f.until("a release after a restart", role, vacant)
	}
}

func watchEnds(t *trial) {
	l, role := t.open(), t.named("r")
	s := t.join(l, "a", role)
	for _, roles := range [][]string{{role}, nil} {
		ctx, cancel := context.WithCancel(t.ctx)
		var at time.Time
		for _, err := range l.Watch(ctx, roles...) {
			if err == nil && at.IsZero() {
				at = time.Now()
				time.AfterFunc(20*time.Millisecond, cancel)
			}
		}
		if took := time.Since(at); took > 120*time.Millisecond+t.slack() {
			t.errorf("a watch ends %v after its context", took)
		}
		cancel()
		for _, err := range l.Watch(t.ctx, roles...) { // a consumer may go at any time
			if err != nil {
				t.errorf("watch: %v", err)
			}
			break
		}
		var shown, failed int
		for _, err := range l.Watch(ctx, roles...) {
			if shown++; err != nil {
				failed++
			}
		}
		if shown > 1 || shown == 1 && failed == 0 && len(roles) == 0 {
			t.errorf("a watch whose context was done before it began yields %d times, with %d errors", shown, failed)
		}
	}
	t.beat(s)
}

func watchUnreachable(t *trial) {
	l, role := t.open(), t.named("r")
	t.network("cut", l.Cut)
	ctx, cancel := context.WithTimeout(t.ctx, t.TTL/2)
	defer cancel()
	begun := time.Now()
	var errs []error
	for st, err := range l.Watch(ctx, role) {
		if err == nil {
			t.fatalf("a store that cannot be reached shows %+v", st)
		}
		errs = append(errs, err)
		t.pause(10 * time.Millisecond)
	}
	if took := time.Since(begun); took > t.TTL/2+100*time.Millisecond+t.slack() {
		t.errorf("a watch of a store that cannot be reached ends after %v, want %v", took, t.TTL/2)
	}
	if len(errs) == 0 {
		t.errorf("a watch that could show nothing does not say why")
	}
	for _, err := range errs {
		if isKnown(err) {
			t.errorf("a watch of a store that cannot be reached: %v, want an error without a name", err)
		}
	}
}

// foreignValue replaces a role's record by somebody else's value.
func foreignValue(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(t.open(), "b", role)
	t.acquire(a, role)
	f := t.follow(t.open(), role)
	f.until("the term", role, func(st lock.Standing) bool { return !vacant(st) })
	t.must("overwrite", func(ctx context.Context) error { return t.store.Overwrite(ctx, role) })
	f.await("ErrPermanent", func(f *follower) bool {
		for _, err := range f.errs {
			if errors.Is(err, lock.ErrPermanent) {
				return true
			}
		}
		return false
	})
	for _, s := range []lock.Session{a, b} {
		t.want(lock.ErrPermanent, "acquire a role whose record is a foreign value", func(ctx context.Context) error { _, err := s.TryAcquire(ctx, role); return err })
		t.beat(s)
	}
}
