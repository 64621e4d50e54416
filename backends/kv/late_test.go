package kv_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestLate is what is done where a Locker's watch is late, or shows what has not changed.
func TestLate(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*rig)
	}{
		{"what a call did is never unseen again", neverUnseen},
		{"a term is released that the watch has not heard of", releasedUnheard},
		{"a term that is over by its holder's end alone", overByEnd},
		{"nothing is shown twice", shownOnce},
		{"a reading that takes long is not made twice each time", slowReadings},
	} {
		t.Run(test.name, func(t *testing.T) { inBubble(t, test.run) })
	}
}

// slow has readings of everything take a second, and what is followed longer.
func slow(wire *kvmem.Client) {
	wire.On(func(c kvmem.Call) kvmem.Fault {
		switch {
		case c.Name == "Step":
			return kvmem.Delay(1700*time.Millisecond, 0)
		case whole(c):
			return kvmem.Delay(0, time.Second)
		}
		return kvmem.Fault{}
	})
}

// neverUnseen makes calls while readings are on their way that began before.
func neverUnseen(r *rig) {
	l, wire := r.wired()
	a := r.join(l, "a")
	var mu sync.Mutex
	var token, floor lock.Token // as they were acknowledged, like what follows
	over, joined, priority, shown := true, 0, 0, 0
	_, _ = lab.Watch(r.ctx, r, l, func(st lock.Standing, err error) {
		mu.Lock()
		defer mu.Unlock()
		shown++
		others, bids := 0, priority
		for _, m := range st.Line {
			if m.Session == a.ID() {
				bids = m.Priority
			} else {
				others++
			}
		}
		if err != nil || st.Term.Token < token || st.Term.Token == token && over && !st.Term.Vacant() || st.Floor < floor || others < joined || bids < priority {
			r.Errorf("token %d, over %v, floor %d, %d others in line, priority %d; it shows %+v, %v", token, over, floor, joined, priority, st, err)
		}
	})
	slow(wire)
	did := func(change func()) {
		mu.Lock()
		change()
		mu.Unlock()
		time.Sleep(300 * time.Millisecond) // virtual time, in which no reading ends that begins now
	}
	for i := range 10 {
		next := r.acquire(a)
		did(func() { token, over = next, false })
		r.must(a.Release(r.ctx, "r", next))
		did(func() { over = true })
		r.must(l.Raise(r.ctx, next+10))
		did(func() { floor = next + 10 })
		r.must(a.Beat(r.ctx, lock.Bid{Role: "r", Priority: i}))
		did(func() { priority = i })
		r.join(l, fmt.Sprint("x", i))
		did(func() { joined++ })
		time.Sleep(5 * time.Second) // virtual time, in which it is shown
	}
	if mu.Lock(); shown < 10 {
		r.Errorf("it shows %d standings", shown)
	}
	mu.Unlock()
}

// releasedUnheard: the watch still shows the term before.
func releasedUnheard(r *rig) {
	l, wire := r.wired()
	a, b := r.join(r.locker(), "a"), r.join(l, "b")
	token := r.acquire(a)
	v := r.view(l)
	v.until("held by a", lab.HeldBy(a))
	slow(wire)
	r.must(a.Handoff(r.ctx, "r", token, b.ID()))
	mine := r.acquire(b)
	r.must(b.Release(r.ctx, "r", mine))
	if st := r.now(r.locker(), "r"); st.Term.Token != mine || !st.Term.Vacant() {
		r.Errorf("released, it stands as %+v", st.Term)
	}
}

func overByEnd(r *rig) {
	l, wire := r.wired()
	a, b := r.join(l, "a"), r.join(l, "b")
	token := r.acquire(a)
	r.view(l).last()
	r.want(b.Release(r.ctx, "r", token), lock.ErrHeld)
	wire.On(failing("Read", kvmem.Fail(errLost)))
	r.want(b.Release(r.ctx, "r", token), errLost)
	wire.On(nil)
	r.want(a.Handoff(r.ctx, "r", 0, a.ID()), lock.ErrMoved)
	r.must(r.evict(r.locker(), a)) // b is in line, so the role's record says nothing of it
	r.want(a.Handoff(r.ctx, "r", token, b.ID()), lock.ErrMoved)
	r.must(b.Release(r.ctx, "r", token))
}

func shownOnce(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	r.must(a.Release(r.ctx, "r", r.acquire(a)))
	was := r.get("state/role/r")
	v := r.view(l)
	counts := func(what string, shown, failed int) {
		r.Helper()
		for range 3 {
			r.want(l.Ask(r.ctx, "q", lock.Request{Token: 1}), lock.ErrMoved) // which has everything read
			v.last()
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.shown) != shown || len(v.failed) != failed {
			r.Errorf("%s: %d standings and %d errors, want %d and %d", what, len(v.shown), len(v.failed), shown, failed)
		}
	}
	counts("a role that was released", 1, 0)
	r.put("state/role/r", "x")
	counts("its record is not readable", 1, 1)
	r.put("state/role/r", string(was.Value))
	counts("it is as before", 2, 1)
	r.remove("state/role/r")
	counts("it was never held", 3, 1)
	r.must(a.Beat(r.ctx, lock.Bid{Role: "q"}))
	counts("nobody is in line for it", 4, 1)
}

func slowReadings(r *rig) {
	l, wire := r.wired()
	asked := listen(wire, func(c kvmem.Call) kvmem.Fault {
		if whole(c) {
			return kvmem.Delay(0, 2*time.Second)
		}
		return kvmem.Fault{}
	})
	r.view(l)
	time.Sleep(time.Minute) // virtual time
	if n := asked.of("all"); n > 25 {
		r.Errorf("%d readings in a minute, of 2 s each, with 1 s between them", n)
	}
}

// failingStore: each call returns the error of what it asked of the store, whichever that was.
func failingStore(r *rig) {
	l, wire := r.wired()
	a, b := r.join(l, "a"), r.join(l, "b")
	token := r.acquire(a)
	for _, name := range []string{"Read", "Commit"} {
		wire.On(failing(name, kvmem.Fail(errLost)))
		_, register := l.Register(r.ctx, lab.Contender("c"), lab.Long)
		_, acquire := a.TryAcquire(r.ctx, "free")
		errs := map[string]error{
			"Register": register, "TryAcquire": acquire, "Release": a.Release(r.ctx, "r", token), "Handoff": a.Handoff(r.ctx, "r", token, b.ID()),
			"Ask": l.Ask(r.ctx, "r", lock.Request{Token: token}), "Raise": l.Raise(r.ctx, 9), "Evict": r.evict(l, b), "Close": a.Close(r.ctx),
		}
		if name == "Commit" {
			errs["Beat"] = a.Beat(r.ctx)
		}
		for call, err := range errs {
			if !errors.Is(err, errLost) {
				r.Errorf("%s fails, and %s: %v", name, call, err)
			}
		}
	}
}
