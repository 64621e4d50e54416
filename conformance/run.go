package conformance

import (
	"errors"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

func runCutOff(t *trial) { runDeadline(t, weather{}, weather{cut: true}) }

func runRepliesLost(t *trial) { runDeadline(t, weather{}, weather{mute: true}) }

func runNetworkCut(t *trial) {
	runDeadline(t, weather{}, weather{spoil: func(c *Client) error { return c.Cut() }})
}

func runNetworkMute(t *trial) {
	runDeadline(t, weather{}, weather{passes: true, spoil: func(c *Client) error { return c.CutReplies() }})
}

func runSessionDeleted(t *trial) {
	runSpoiled(t, func(st lock.Standing) error { return t.store.DeleteSession(t.ctx, st.Term.Holder.Session) })
}

func runLeaseRevoked(t *trial) {
	runSpoiled(t, func(st lock.Standing) error { return t.store.RevokeLease(t.ctx, st.Term.Holder.Session) })
}

func runRoleDeleted(t *trial) {
	runSpoiled(t, func(st lock.Standing) error { return t.store.DeleteRole(t.ctx, st.Role) })
}

func runStoreRestart(t *trial) {
	runSpoiled(t, func(lock.Standing) error { return t.store.Restart(t.ctx) })
}

// runStop stops one active after another. Their works take their time, and keep the role for as
// long. It does not matter who follows: a standby that the machine let sleep may be overtaken by
// the next in line.
func runStop(t *trial) {
	role, j := t.named("r"), t.judge()
	running := map[string]*contender{}
	for _, id := range []string{"a", "b", "c"} {
		slow := func(c *coordinator.Config) { c.StopTimeout = 2 * t.TTL }
		running[id] = t.contend(j, id, slow, role)
		j.active(role, "a", 0)
		t.await(running["a"].link, role, "the line", func(st lock.Standing) bool { return len(st.Line) == len(running)-1 })
	}
	last := running["a"]
	for i := range 2 {
		if err := last.stop(); err != nil {
			t.errorf("Run ends with %v", err)
		}
		next := j.active(role, anyone, i+1)
		last = running[next.who]
		began, before := next.began, j.spell(role, i)
		if !errors.Is(before.cause, coordinator.ErrStopping) {
			t.errorf("the work was told to stop because of %v", before.cause)
		}
		if took := began.Sub(before.ended); took > t.slack() {
			t.errorf("the takeover from a work that was stopped took %v, want at most %v", took, t.slack())
		}
	}
	if err := last.stop(); err != nil {
		t.errorf("Run ends with %v", err)
	}
	_, trip := t.pace.worst(t.begun)
	unsure := trip > last.config.Try() // then a registration may be left that nobody knows of
	t.await(t.open(), role, "nobody", func(st lock.Standing) bool { return st.Term.Vacant() && (unsure || len(st.Line) == 0) })
}

// runDeadline spoils the active's network: its work is told to stop in time, and the standby
// follows after that, and not late.
func runDeadline(t *trial, at, then weather, change ...func(*coordinator.Config)) {
	role, j := t.named("r"), t.judge()
	a := t.contend(j, "a", func(c *coordinator.Config) {
		for _, f := range change {
			f(c)
		}
	}, role)
	a.set(at)
	j.active(role, "a", 0)
	b := t.contend(j, "b", nil, role)
	t.inLine(b.link, role)
	t.pause(a.config.TTL)
	j.active(role, "a", 0)
	n := j.count(role) // late replies may have cost a term or two
	cut := time.Now()
	a.set(then)
	second := j.active(role, "b", n)
	first := j.spell(role, n-1)
	deadline := a.config.TTL - a.config.Skew - a.config.Grace
	if told := first.told.Sub(cut); told > deadline+t.hurry() {
		t.errorf("the work was told to stop %v after the last beat can have been acknowledged, want at most %v", told, deadline)
	}
	most := a.takeover()
	if then.passes { // one more beat arrives, and on a store that compares versions nothing after it, no release either
		most += a.config.TTL / 4
	}
	if took := second.began.Sub(cut); took > most {
		t.errorf("the standby works %v after the active was cut off, want at most %v", took, most)
	}
	a.set(weather{})
	healed := time.Now()
	t.await(b.link, role, "the one that was cut off there again", func(st lock.Standing) bool {
		lost := !t.Virtual && st.Term.Holder.ID == a.config.ID && st.Term.Token > second.token // it lost the role to b, because the machine is busy
		return len(st.Line) == 1 && (lost || st.Line[0].ID == a.config.ID)
	})
	if took := time.Since(healed); took > 2*a.config.TTL+t.slack() {
		t.errorf("the one that was cut off is there again after %v, want at most %v", took, 2*a.config.TTL)
	}
	b.cancel()
	j.active(role, "a", n+1)
}

// runRepliesLate lets replies take nearly as long as a call may, with the least allowed skew, so
// that a coordinator that counts from a reply would work past its promise. In virtual time the
// work uses all the time that it has; in real time half of what a call may take is left to the
// store.
func runRepliesLate(t *trial) {
	ttl, part := t.TTL, time.Duration(9)
	if !t.Virtual {
		ttl, part = 3*t.TTL, 5
	}
	late := coordinator.Config{TTL: ttl}.Try() * part / 10
	runDeadline(t, weather{late: late}, weather{late: late, cut: true}, func(c *coordinator.Config) {
		c.TTL = ttl
		if t.Virtual {
			c.Skew, c.Grace = ttl/100+5*time.Millisecond, ttl/20
			c.NoExit = true
		}
	})
}

// runOutageShort cuts everybody off for less time than a beat can ride out.
func runOutageShort(t *trial) {
	role, j := t.named("r"), t.judge()
	longer := func(c *coordinator.Config) { c.TTL = 2 * t.TTL }
	a, b := t.contend(j, "a", longer, role), (*contender)(nil)
	j.active(role, "a", 0)
	b = t.contend(j, "b", longer, role)
	for range 2 {
		t.pause(a.config.TTL / 2)
		a.set(weather{cut: true})
		b.set(weather{cut: true})
		t.pause(a.config.Outage() / 2)
		a.set(weather{})
		b.set(weather{})
	}
	t.pause(a.config.TTL)
	if j.count(role) != 1 || !j.spell(role, 0).told.IsZero() {
		t.errorf("outages of %v changed something, where %v should change nothing: %s", a.config.Outage()/2, a.config.Outage(), j.tell(role))
	}
}

// runOutageLong cuts everybody off for longer than the promise. Nobody can have evicted anybody
// then, and no holder of the role may be left that does not work.
func runOutageLong(t *trial) {
	role, j := t.named("r"), t.judge()
	a, b := t.pair(j, nil, role)
	t.inLine(b.link, role)
	for _, of := range []float64{1.5, 4} {
		n := j.count(role)
		a.set(weather{cut: true})
		b.set(weather{cut: true})
		t.pause(time.Duration(of * float64(t.TTL)))
		j.await(role, "nobody works", func(all []*spell) bool { return !all[len(all)-1].ended.IsZero() })
		a.set(weather{})
		b.set(weather{})
		healed := time.Now()
		j.await(role, "somebody works again", func(all []*spell) bool { return len(all) > n })
		if took := time.Since(healed); took > 2*t.TTL+t.slack() {
			t.errorf("somebody works again %v after an outage, want at most %v", took, 2*t.TTL)
		}
		t.await(b.link, role, "both back in line", func(st lock.Standing) bool { return !st.Term.Vacant() && len(st.Line) == 1 })
		if took := time.Since(healed); took > 2*t.TTL+t.slack() {
			t.errorf("both are in line again %v after an outage, want at most %v", took, 2*t.TTL)
		}
	}
}
