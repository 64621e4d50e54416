package kv_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestWatch is what a Locker's watch asks of the store, and when it shows what. That it
// shows everything is the suite's.
func TestWatch(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*rig)
	}{
		{"shows nothing older than what its Locker did", acknowledged},
		{"shows a change of bids of its own Locker at once", ownBids},
		{"goes on beside calls without a pause", withoutPause},
		{"shows the holder's beats at once, and reads nothing for it", holderBeats},
		{"shows the line's beats once per ttl", lineBeats},
		{"says nothing when its context ends, and once that its Locker is closed", watchEnds},
		{"begins to follow anew where that has missed something", silentFollow},
		{"begins to follow anew where the store went back", silentRollback},
		{"does not begin to follow anew because it was quicker to read", overtakenFollow},
		{"reads anew where all readings hang for ever", hungReadings},
		{"asks a store that fails the more seldom, the longer the promises are", failingReadings},
	} {
		t.Run(test.name, func(t *testing.T) { inBubble(t, test.run) })
	}
}

// failingReadings has every reading fail for twenty seconds, and then none.
func failingReadings(r *rig) {
	for _, c := range []struct {
		name     string
		ttl      time.Duration // of one in line; 0: nobody is
		first    bool          // the first reading fails, too
		min, max int
	}{
		{"nobody is in line", 0, false, 18, 25},
		{"the shortest ttl is 2s", 2 * time.Second, false, 90, 110},
		{"the shortest ttl is 1m", time.Minute, false, 18, 25},
		{"it failed from the first", 2 * time.Second, true, 18, 25},
	} {
		rig := newRig(r.T)
		if c.ttl > 0 {
			_, err := rig.locker().Register(rig.ctx, lab.Contender("a"), lock.Promise{TTL: c.ttl}, lock.Bid{Role: "r"})
			rig.must(err)
		}
		l, wire := rig.wired()
		fails := failing("Read", kvmem.Fail(errLost))
		if c.first {
			listen(wire, fails)
		}
		v := rig.view(l)
		synctest.Wait()
		asked := listen(wire, fails)
		wire.Break(errLost)
		time.Sleep(20 * time.Second) // virtual time
		if n := asked.of("all"); n < c.min || n > c.max {
			r.Errorf("%s: it is read %d times in 20 s, want %d to %d", c.name, n, c.min, c.max)
		}
		listen(wire, nil)
		time.Sleep(2 * time.Second) // virtual time
		if st := v.last(); st.Role != "r" {
			r.Errorf("%s: then it shows %+v", c.name, st)
		}
		v.cancel()
		<-v.ended
	}
}

// hungReadings has as many readings hang as may be open at once. Others are begun. (That it is
// told may be overtaken.)
func hungReadings(r *rig) {
	l, wire := r.wired()
	a := r.join(r.locker(), "a")
	r.acquire(a)
	var n atomic.Int32
	never := make(chan struct{})
	listen(wire, func(c kvmem.Call) kvmem.Fault {
		if whole(c) && n.Add(1) <= 4 {
			return kvmem.Hold(never)
		}
		return kvmem.Fault{}
	})
	ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
	defer cancel()
	begun := time.Now()
	for st, err := range l.Watch(ctx, "r") {
		if err == nil {
			if took := time.Since(begun); st.Term.Vacant() || took < 10*time.Second {
				r.Errorf("shown after %v, want it only after the silence: %+v", took, st)
			}
			return
		}
	}
	r.Error("nothing is shown")
}

// acknowledged has the readings of a Locker take lab.Long, and what it follows longer.
func acknowledged(r *rig) {
	l, wire := r.wired()
	a := r.join(l, "a")
	v := r.view(l)
	r.acquire(a)
	v.last()
	slow(wire)
	since := func(what string, good func(lock.Standing) bool) {
		v.last() // one may have been on its way
		v.mu.Lock()
		seen := len(v.shown)
		v.mu.Unlock()
		time.Sleep(1100 * time.Millisecond) // virtual time
		v.last()
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, st := range v.shown[seen:] {
			if !good(st) {
				r.Errorf("after it %s: %+v", what, st.Term)
			}
		}
		if len(v.shown) == seen && !good(v.shown[seen-1]) {
			r.Errorf("it %s, and that is not shown", what)
		}
	}
	for token := lock.Token(0); token < 100; {
		token = r.acquire(a)
		since("acquired", func(st lock.Standing) bool { return st.Term.Token == token && !st.Term.Vacant() })
		r.must(a.Release(r.ctx, "r", token))
		since("released", func(st lock.Standing) bool { return st.Term.Token == token && st.Term.Vacant() })
	}
}

func ownBids(r *rig) {
	l := r.locker()
	b := r.join(l, "b")
	v := r.view(l)
	if st := v.last(); len(st.Line) != 1 {
		r.Fatalf("%+v", st)
	}
	r.must(b.Beat(r.ctx, lock.Bid{Role: "q"}))
	if st := v.last(); len(st.Line) != 0 {
		r.Errorf("%+v", st)
	}
}

// withoutPause has a Locker some call of which ends during each reading of everything.
func withoutPause(r *rig) {
	l, wire := r.wired()
	a, b := r.join(r.locker(), "a"), r.join(l, "b")
	listen(wire, func(c kvmem.Call) kvmem.Fault {
		if whole(c) {
			return kvmem.Delay(50*time.Millisecond, 50*time.Millisecond)
		}
		return kvmem.Delay(time.Millisecond, time.Millisecond)
	})
	v := r.view(l)
	time.Sleep(time.Second) // virtual time
	over := make(chan struct{})
	var callers sync.WaitGroup
	defer callers.Wait()
	defer close(over)
	for range 8 {
		callers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					_ = l.Ask(r.ctx, "r", lock.Request{Token: 1}) // refused: that term never was
				}
			}
		})
	}
	soon := func(what string, good func(lock.Standing) bool) {
		if took := v.until(what, good); took > time.Second {
			r.Errorf("%s after %v", what, took)
		}
	}
	for range 3 {
		token := r.acquire(a)
		soon("held by a", lab.HeldBy(a))
		r.must(a.Handoff(r.ctx, "r", token, b.ID()))
		soon("held by b", lab.HeldBy(b))
		r.must(b.Release(r.ctx, "r", r.acquire(b)))
		soon("vacant", lab.Vacant)
	}
}

func holderBeats(r *rig) {
	a := r.join(r.locker(), "a")
	r.acquire(a)
	l, wire := r.wired()
	v := r.view(l)
	beats := func(holder lock.Session) {
		before := v.last().Term.Holder.Beat
		asked := listen(wire, nil)
		for range 20 {
			r.must(holder.Beat(r.ctx))
			now := v.last().Term.Holder.Beat
			if now <= before {
				r.Errorf("beat %d, then %d", before, now)
			}
			before = now
		}
		if n := asked.of("all"); n != 0 {
			r.Errorf("everything was read %d times for the holder's beats", n)
		}
	}
	beats(a)
	b := r.join(r.locker(), "b")
	r.must(a.Handoff(r.ctx, "r", v.last().Term.Token, b.ID()))
	v.until("held by b", lab.HeldBy(b))
	beats(b)
	r.revoke("line/session/" + string(b.ID()))
	if took := v.until("absent", func(st lock.Standing) bool { return st.Term.Holder.Beat == lock.Absent }); took > time.Second {
		r.Errorf("absence is seen after %v", took)
	}
}

// lineBeats: who stands by is looked at before its silence is due.
func lineBeats(r *rig) {
	l, p := r.locker(), lock.Promise{TTL: time.Second, Skew: 60 * time.Millisecond}
	b, err := l.Register(r.ctx, lab.Contender("b"), p, lock.Bid{Role: "r"})
	r.must(err)
	v := r.view(r.locker())
	for range 4 {
		before := v.last().Line[0].Beat
		r.must(b.Beat(r.ctx))
		if took := v.until("another beat", func(st lock.Standing) bool { return st.Line[0].Beat != before }); took >= p.TTL {
			r.Errorf("seen after %v", took)
		}
	}
	late, err := l.Register(r.ctx, lab.Contender("c"), p, lock.Bid{Role: "r", Priority: 1})
	r.must(err)
	v.until("in line before the other", func(st lock.Standing) bool { return len(st.Line) == 2 && st.Line[0].Session == late.ID() })
}

func watchEnds(r *rig) {
	l := r.locker()
	r.join(l, "a")
	v, w := r.view(l), r.view(l)
	v.last()
	w.last()
	v.cancel()
	<-v.ended
	if len(v.failed) != 0 {
		r.Error(v.failed)
	}
	r.must(l.Close())
	<-w.ended
	if len(w.failed) != 1 {
		r.Errorf("a closed Locker's watch said %v", w.failed)
	}
	r.must(l.Close())
	for _, err := range l.Watch(r.ctx) {
		if err == nil {
			r.Error("a closed Locker shows something")
		}
	}
}

// deaf has the first Follow that a client begins hang in silence, as one does whose
// connection died.
func deaf(c *kvmem.Client) *calls {
	first := true
	return listen(c, func(c kvmem.Call) kvmem.Fault {
		if c.Name == "Follow" && first {
			first = false
			return kvmem.Hold(nil)
		}
		return kvmem.Fault{}
	})
}

// silentFollow: what the holder does meanwhile is seen by the next reading of everything,
// and what it does after that at once.
func silentFollow(r *rig) {
	a := r.join(r.locker(), "a")
	token := r.acquire(a)
	l, wire := r.wired()
	deaf(wire)
	v := r.view(l)
	before := v.last().Term.Holder.Beat
	r.must(a.Beat(r.ctx))
	if now := v.last().Term.Holder.Beat; now != before {
		r.Fatal("the beat is seen at once: it is not silent")
	}
	v.until("another beat", func(st lock.Standing) bool { return st.Term.Holder.Beat != before })
	r.must(a.Release(r.ctx, "r", token))
	if st := v.last(); !st.Term.Vacant() {
		r.Errorf("a release after the reading is not seen at once: %+v", st.Term)
	}
}

// silentRollback: revisions that were followed are yet to come again.
func silentRollback(r *rig) {
	a := r.join(r.locker(), "a")
	token := r.acquire(a)
	restore := r.server.Save()
	for range 5 {
		r.must(a.Beat(r.ctx))
	}
	l, wire := r.wired()
	deaf(wire)
	v := r.view(l)
	v.last()
	restore()
	r.want(l.Ask(r.ctx, "r", lock.Request{Token: 1}), lock.ErrMoved) // which has everything read
	v.last()
	r.must(a.Release(r.ctx, "r", token))
	if st := v.last(); !st.Term.Vacant() {
		r.Errorf("a release after the reading is not seen at once: %+v", st.Term)
	}
}

// overtakenFollow: each new Follow costs the store a request. Each call has everything read,
// and so it is done now and then without one.
func overtakenFollow(r *rig) {
	l, wire := r.wired()
	a := r.join(l, "a")
	token := r.acquire(a)
	asked := listen(wire, func(c kvmem.Call) kvmem.Fault {
		if c.Name == "Step" {
			return kvmem.Delay(time.Second, 0)
		}
		return kvmem.Fault{}
	})
	v := r.view(l)
	v.last()
	for range 5 {
		r.must(a.Release(r.ctx, "r", token))
		synctest.Wait()
		token = r.acquire(a)
		synctest.Wait()
		r.want(l.Ask(r.ctx, "r", lock.Request{Token: 1}), lock.ErrMoved) // it writes nothing
	}
	if st := v.last(); st.Term.Token != token {
		r.Errorf("%+v", st)
	}
	if n := asked.of("Follow"); n != 1 || asked.of("all") < 10 {
		r.Errorf("with %d readings %d were begun, want 1", asked.of("all"), n)
	}
	time.Sleep(5 * time.Minute) // nothing happens, and everything is read now and then
	if n := asked.of("Follow"); n != 1 || asked.of("all") < 30 {
		r.Errorf("with %d readings %d were begun, want 1", asked.of("all"), n)
	}
}
