package conformance

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// runRough has three contenders on networks that randomly lose, delay and send late, and that are
// cut now and then.
func runRough(t *trial) {
	role, j := t.named("r"), t.judge()
	all := []*contender{}
	for i, id := range []string{"a", "b", "c"} {
		p := t.contend(j, id, nil, role)
		p.set(weather{rough: rand.New(rand.NewPCG(uint64(i), 1)), worst: t.TTL / 3})
		all = append(all, p)
	}
	chance := rand.New(rand.NewPCG(7, 7))
	for end := time.Now().Add(t.History + 5*t.TTL); time.Now().Before(end) && t.ctx.Err() == nil; {
		p := all[chance.IntN(len(all))]
		w, _ := p.now()
		w.cut = chance.IntN(2) == 0
		p.set(w)
		t.pause(time.Duration(chance.Int64N(int64(t.TTL))))
		w.cut = false
		p.set(w)
		t.pause(time.Duration(chance.Int64N(int64(2 * t.TTL))))
	}
	for _, p := range all {
		p.set(weather{})
	}
	at := time.Now()
	j.await(role, "somebody works", func(spells []*spell) bool {
		return len(spells) > 0 && spells[len(spells)-1].told.IsZero()
	})
	if took := time.Since(at); took > 3*t.TTL+t.slack() {
		t.errorf("somebody works %v after the network is well again, want at most %v", took, 3*t.TTL)
	}
	t.await(all[0].link, role, "all in line", func(st lock.Standing) bool { return len(st.Line) == 2 && !st.Term.Vacant() })
}

// runGrantLate gives the role to a standby that has had no beat acknowledged for most of its
// promise: it holds the role, and starts only when a beat is acknowledged again.
func runGrantLate(t *trial) {
	role, j := t.named("r"), t.judge()
	l := t.open()
	holder := t.join(l, "holder", role)
	token := t.acquire(holder, role)
	grace := t.TTL * 3 / 10
	a := t.contend(j, "a", func(c *coordinator.Config) { c.Grace = grace }, role)
	t.inLine(a.link, role)
	t.pause(t.TTL / 10) // its first beat is acknowledged; the next one is not due before the role is free
	t.beat(holder)
	a.set(weather{deaf: true})
	t.pause(t.TTL*7/10 - a.config.Skew/2) // then less than the grace is left, whenever its last beat was
	t.release(holder, role, token)
	t.pause(grace / 2)
	if n := j.count(role); n != 0 {
		t.errorf("a started although nothing was heard of its beats")
	}
	a.set(weather{})
	j.active(role, "a", 0)
}

// runStandingLate shows the active old standings, so that it still seems to hold a role that it
// has handed over.
func runStandingLate(t *trial) {
	role, j := t.named("r"), t.judge()
	a := t.contend(j, "a", nil, role)
	j.active(role, "a", 0)
	t.contend(j, "b", nil, role)
	l, lag := t.open(), t.TTL/2
	st := t.await(l, role, "the standby in line", func(st lock.Standing) bool { return len(st.Line) == 1 && holds(st.Term.Token)(st) })
	a.set(weather{lag: lag})
	t.pause(lag)
	t.must("ask", func(ctx context.Context) error {
		return l.Ask(ctx, role, lock.Request{Token: st.Term.Token, To: st.Line[0].Session, By: "the suite"})
	})
	j.active(role, "b", 1)
	t.pause(3 * lag) // messages in flight to a arrive
	if n := j.count(role); n != 2 {
		t.errorf("%d terms, want that of a and that of b: %s", n, j.tell(role))
	}
}

// runSpoiled does something to the store in a term. The judge checks that nobody starts while the
// holder works, and that somebody works again within the time that silence costs.
func runSpoiled(t *trial, spoil func(st lock.Standing) error) {
	role, j := t.named("r"), t.judge()
	a, b := t.pair(j, nil, role)
	l := t.open()
	for range 3 {
		st := t.spoil(l, role, spoil)
		at := time.Now()
		t.pause(t.TTL / 4)
		j.await(role, "somebody works", func(all []*spell) bool { return all[len(all)-1].told.IsZero() })
		if took := time.Since(at); took > a.takeover()+b.takeover() {
			t.errorf("somebody works %v later, want at most %v", took, a.takeover())
		}
		both := t.await(l, role, "both in line", oneAndOne)
		if took := time.Since(at); took > a.takeover()+b.takeover() {
			t.errorf("both are in line again after %v, want at most %v", took, 2*t.TTL)
		}
		if now, was := both.Term, st.Term; now.Token < was.Token || now.Token == was.Token && now.Holder.Session != was.Holder.Session {
			t.errorf("after the term %+v came %+v", was, now)
		}
	}
}

// spoil does something to the store in a term, and returns that term. On a busy machine the
// active may lose its session by itself just before: then it does so in the next term.
func (t *trial) spoil(l lock.Locker, role string, spoil func(st lock.Standing) error) lock.Standing {
	for tries := 1; ; tries++ {
		st := t.await(l, role, "one active, one standby", oneAndOne)
		t.pause(t.TTL / 4) // now both have seen it
		err := spoil(st)
		if err == nil {
			return st
		}
		now := t.look(l, role)
		if tries == 3 || oneAndOne(now) && now.Term.Token == st.Term.Token {
			t.fatalf("spoil: %v", err)
		}
	}
}

// oneAndOne is an active whose session is there, and one standby.
func oneAndOne(st lock.Standing) bool {
	return !st.Term.Vacant() && st.Term.Holder.Beat != lock.Absent && len(st.Line) == 1
}

// runDeletedUnseen deletes the session of an active that is cut off, while the standby cannot see
// it. The standby's last sight was long ago: it must not count from that.
func runDeletedUnseen(t *trial) {
	role, j := t.named("r"), t.judge()
	a, b := t.pair(j, nil, role)
	st := t.await(t.open(), role, "one active, one standby", func(st lock.Standing) bool { return !st.Term.Vacant() && len(st.Line) == 1 })
	t.pause(t.TTL / 4)
	b.set(weather{cut: true})
	t.pause(t.TTL * 9 / 10)
	a.set(weather{cut: true})
	t.must("delete the session's record", func(ctx context.Context) error { return t.store.DeleteSession(ctx, st.Term.Holder.Session) })
	seen := time.Now()
	b.set(weather{})
	began := j.active(role, "b", 1).began
	if took := began.Sub(seen); took < a.config.TTL+a.config.Skew {
		t.errorf("the role of a session whose record was deleted was taken after %v, want at least %v", took, a.config.TTL+a.config.Skew)
	}
}

// runExit has work that goes on when it is told to stop. The process must end before anybody else
// starts.
func runExit(t *trial) {
	role, j := t.named("r"), t.judge()
	exits := make(chan time.Time, 1)
	a := t.contend(j, "a", func(c *coordinator.Config) {
		c.Exit = func() { exits <- time.Now() }
	}, role)
	j.active(role, "a", 0)
	b := t.contend(j, "b", nil, role)
	t.inLine(b.link, role)
	cut := time.Now()
	a.set(weather{cut: true})
	began := j.active(role, "b", 1).began
	select {
	case at := <-exits:
		if took := at.Sub(cut); took > a.config.TTL-a.config.Skew+t.hurry() || at.After(began) {
			t.errorf("the process whose work goes on was ended %v after it was cut off, and %v before its successor started", took, began.Sub(at))
		}
	default:
		t.errorf("the process whose work goes on was not ended when its successor started")
	}
}

// runForeignValue overwrites the record of a role in which somebody works. The active stops,
// because that is not its term's record any more, and nobody else starts.
func runForeignValue(t *trial) {
	role, j := t.named("r"), t.judge()
	t.contend(j, "a", nil, role)
	j.active(role, "a", 0)
	b := t.contend(j, "b", nil, role)
	t.inLine(b.link, role)
	t.must("overwrite", func(ctx context.Context) error { return t.store.Overwrite(ctx, role) })
	j.await(role, "the active stops", func(all []*spell) bool { return !all[0].ended.IsZero() })
	t.pause(3 * t.TTL)
	if j.count(role) != 1 {
		t.errorf("works after the role's record was overwritten: %s", j.tell(role))
	}
}
