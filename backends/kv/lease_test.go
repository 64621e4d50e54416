package kv_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestLeases is how leases are renewed, and what is done where they are gone.
func TestLeases(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*rig)
	}{
		{"what is not durable hangs on its session's", hangsOn},
		{"the first beat in each quarter of the lease renews it", quarterly},
		{"a renewal that failed is made again with the next beat", renewedAgain},
		{"one renewal at a time", oneRenewal},
		{"an end outlives the lease that went when it was written", endWithoutLease},
		{"an end is written once, whatever its renewal says", renewalOfAnEnd},
		{"an end that is written again renews its lease once", endAgain},
		{"an end on a lease that is new waits for nothing", endOnNewLease},
		{"an end is not written on a lease that is known to be gone", endOnGoneLease},
	} {
		t.Run(test.name, func(t *testing.T) { inBubble(t, test.run) })
	}
}

// hangsOn: a session's end hangs on the lease of its record.
func hangsOn(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	r.acquire(a)
	on := func(key string) kv.Lease {
		record := r.get(key)
		if record.Revision == 0 {
			r.Errorf("%s is not there", key)
		}
		return record.Lease
	}
	session := on("line/session/" + string(a.ID()))
	if session == "" || on("line/claim/a") != session || on("state/role/r") != "" || on("state/identity") != "" {
		r.Error("the session, its claim, the role or the identity hang on the wrong lease")
	}
	r.must(a.Close(r.ctx))
	if got := on("state/end/" + string(a.ID())); got != session {
		r.Errorf("the end hangs on %q, want %q", got, session)
	}
	r.revoke("line/session/" + string(b.ID()))
	r.must(b.Close(r.ctx))
	if on("state/end/"+string(b.ID())) == "" {
		r.Error("the end of a session that was gone hangs on nothing")
	}
}

// failing has calls of one name meet a fault.
func failing(name string, f kvmem.Fault) func(kvmem.Call) kvmem.Fault {
	return func(c kvmem.Call) kvmem.Fault {
		if c.Name == name {
			return f
		}
		return kvmem.Fault{}
	}
}

var errLost = errors.New("the connection was lost")

func (r *rig) beat(s lock.Session, n int) {
	r.Helper()
	for range n {
		r.must(s.Beat(r.ctx))
	}
}

// quarter is a quarter of the lease of a session with a long promise.
const quarter = 30 * time.Minute

func quarterly(r *rig) {
	l, wire := r.wired()
	a := r.join(l, "a")
	asked := listen(wire, nil)
	for renewals := range 3 {
		r.ctx = context.WithoutCancel(r.ctx)
		time.Sleep(quarter - time.Second) // virtual time
		r.beat(a, 3)
		if n := asked.of("Keep"); n != renewals {
			r.Errorf("%d renewals in %d quarters of the lease", n, renewals)
		}
		time.Sleep(time.Second) // virtual time
		r.beat(a, 3)
		if n := asked.of("Keep"); n != renewals+1 {
			r.Errorf("%d renewals in %d quarters of the lease", n, renewals+1)
		}
	}
}

func renewedAgain(r *rig) {
	l, wire := r.wired()
	a := r.join(l, "a")
	asked := listen(wire, failing("Keep", kvmem.Fail(errLost)))
	time.Sleep(quarter) // virtual time
	r.beat(a, 1)
	asked.of("Keep")
	r.beat(a, 1)
	if n := asked.of("Keep"); n != 2 {
		r.Errorf("%d renewals when the first had failed, want a second one with the next beat", n)
	}
}

// oneRenewal: while one is open no beat begins another, and one that hangs is given up
// while the lease is alive.
func oneRenewal(r *rig) {
	l, wire := r.wired()
	a := r.join(l, "a")
	asked := listen(wire, failing("Keep", kvmem.Hold(nil)))
	time.Sleep(quarter) // virtual time
	r.beat(a, 1)
	asked.of("Keep")
	r.beat(a, 20)
	if n := asked.of("Keep"); n != 1 {
		r.Errorf("%d renewals were open at once", n)
	}
	time.Sleep(lab.Long.TTL) // the lease has two of these
	r.ctx = context.WithoutCancel(r.ctx)
	r.beat(a, 1)
	if n := asked.of("Keep"); n != 2 {
		r.Errorf("%d renewals after the first had hung for a ttl, want 2", n)
	}
}

func (r *rig) evict(l lock.Locker, s lock.Session) error {
	return l.Evict(r.ctx, s.ID(), lock.AnyBeat, lock.End{By: "the witness", Why: "its process is dead"})
}

// ended expects a session's end on a lease that is alive: a registration that was on its
// way comes too late.
func (r *rig) ended(l lock.Locker, s lock.Session) {
	r.Helper()
	end := r.get("state/end/" + string(s.ID()))
	if end.Revision == 0 || end.Lease == "" {
		r.Fatalf("the end: %+v", end)
	}
	r.must(r.hand.Keep(r.ctx, end.Lease))
	_, err := l.Register(r.ctx, lock.Contender{ID: "a", Session: s.ID()}, lab.Long)
	r.want(err, lock.ErrLost)
}

// endWithoutLease has the lease go after the end was committed, which hangs on it: before
// its renewal comes.
func endWithoutLease(r *rig) {
	for name, end := range map[string]func(lock.Locker, lock.Session) error{
		"evict": r.evict,
		"close": func(_ lock.Locker, s lock.Session) error { return s.Close(r.ctx) },
	} {
		l, wire := r.wired()
		a := r.join(l, "a")
		lease, committed, first := r.get("line/session/"+string(a.ID())).Lease, make(chan struct{}), true
		asked := listen(wire, func(c kvmem.Call) kvmem.Fault {
			switch {
			case c.Name == "Keep":
				return kvmem.Hold(committed)
			case c.Name == "Commit" && first:
				first = false
				return kvmem.Fault{After: func(ctx context.Context) error {
					defer close(committed)
					return r.hand.Revoke(ctx, lease)
				}}
			}
			return kvmem.Fault{}
		})
		if err := end(l, a); err != nil {
			r.Errorf("%s: %v", name, err)
		}
		if n := asked.of("Commit"); n != 3 {
			r.Errorf("%s: %d commits, want the end, one that finds the claim gone, and the end again", name, n)
		}
		r.ended(l, a)
	}
}

func renewalOfAnEnd(r *rig) {
	ways := map[string]map[string]int{}
	for name, f := range map[string]kvmem.Fault{"well": {}, "lost": kvmem.Lose(errLost), "hangs": kvmem.Hold(nil)} {
		l, wire := r.wired()
		a := r.join(l, "a")
		asked := listen(wire, failing("Keep", f))
		ctx := r.ctx
		if name == "hangs" {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			r.ctx = short
		}
		if err := r.evict(l, a); err != nil {
			r.Errorf("the renewal is %s: %v", name, err)
		}
		asked.of("Keep")
		r.ctx, ways[name] = ctx, asked.named
		wire.On(nil)
		r.ended(l, a)
	}
	for name, asked := range ways {
		for _, call := range []string{"Commit", "Grant", "Keep"} {
			if asked[call] != ways["well"][call] {
				r.Errorf("the renewal is %s: %d calls of %s, want %d", name, asked[call], call, ways["well"][call])
			}
		}
	}
	for _, name := range []string{"well", "lost"} { // one that hangs takes the time of the second
		if n := ways[name]["Read"]; n != 2 {
			r.Errorf("the renewal is %s: %d readings, want that of the session and that of who is in line", name, n)
		}
	}
}

// endAgain has a session's claim change between the reading and the commit.
func endAgain(r *rig) {
	l, wire := r.wired()
	a := r.join(l, "a")
	first := true
	asked := listen(wire, func(c kvmem.Call) kvmem.Fault {
		if c.Name != "Commit" || !first {
			return kvmem.Fault{}
		}
		first = false
		return kvmem.Fault{Before: func(context.Context) error { r.remove("line/claim/a"); return nil }}
	})
	r.must(r.evict(l, a))
	if commits, renewals := asked.of("Commit"), asked.of("Keep"); commits != 2 || renewals != 1 {
		r.Errorf("%d commits and %d renewals, want 2 and 1", commits, renewals)
	}
	r.ended(l, a)
}

func endOnNewLease(r *rig) {
	l, wire := r.wired()
	a := r.join(l, "a")
	r.revoke("line/session/" + string(a.ID()))
	begun, asked := time.Now(), listen(wire, nil)
	r.must(r.evict(l, a))
	if took := time.Since(begun); took != 0 || asked.of("Keep") != 0 || asked.of("Grant") != 1 {
		r.Errorf("it took %v; of leases %d were granted and %d renewed, want 1 and none", took, asked.of("Grant"), asked.of("Keep"))
	}
	r.ended(l, a)
}

// endOnGoneLease ends a session by what was read of it some time ago. Meanwhile its lease
// went, and by somebody's hand its record stayed.
func endOnGoneLease(r *rig) {
	own, witness := r.locker(), r.locker()
	a := r.join(own, "a")
	r.now(witness, "r")
	key := "line/session/" + string(a.ID())
	was := r.get(key)
	r.write(kv.Write{Key: key, Value: was.Value})
	r.must(r.hand.Revoke(r.ctx, was.Lease))
	r.must(r.evict(witness, a))
	r.ended(own, a)
	if now := r.get(key); now.Revision != 0 {
		r.Errorf("the record is there: %s", now.Value)
	}
}
