package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

func runRequestsLost(t *trial) {
	runDeadline(t, weather{}, weather{spoil: func(c *Client) error { return c.CutRequests() }})
}

func runRefused(t *trial) {
	runDeadline(t, weather{}, weather{spoil: func(c *Client) error { return c.Refuse() }})
}

func runRepliesTooLate(t *trial) { runDeadline(t, weather{}, weather{late: t.TTL * 3 / 10}) }

func runNodeLost(t *trial) {
	runSpoiled(t, func(lock.Standing) error { return t.store.LoseNode(t.ctx) })
}

// runBeatRetried lets one beat pass whose reply comes late, after other attempts that are lost.
// The deadline counts from the one that passed.
func runBeatRetried(t *trial) {
	role, j := t.named("r"), t.judge()
	a := t.contend(j, "a", func(c *coordinator.Config) {
		if t.Virtual { // time costs nothing there: leave some for more tries
			c.TTL = 10 * t.TTL
		}
	}, role)
	j.active(role, "a", 0)
	t.pause(a.config.TTL)
	a.set(weather{last: true, late: a.config.Try() * 9 / 10})
	j.await(role, "the work was told to stop", func(all []*spell) bool { return !all[0].told.IsZero() })
	begun := a.passedAt()
	most := a.config.TTL - a.config.Skew - a.config.Grace
	if told := j.spell(role, 0).told.Sub(begun); begun.IsZero() || told > most+t.hurry() {
		t.errorf("the work was told to stop %v after the beat began that was acknowledged last, want at most %v", told, most)
	}
}

// runReset breaks every connection of everybody, over and over.
func runReset(t *trial) {
	role, j := t.named("r"), t.judge()
	longer := func(c *coordinator.Config) { c.TTL = 2 * t.TTL }
	a, b := t.pair(j, longer, role)
	for range 15 {
		for _, p := range []*contender{a, b} {
			p.set(weather{spoil: func(c *Client) error { return c.Refuse() }})
			p.set(weather{})
		}
		t.pause(a.config.TTL / 6)
	}
	if j.count(role) != 1 || !j.spell(role, 0).told.IsZero() {
		t.errorf("connections that broke changed something: %s", j.tell(role))
	}
	t.inLine(b.link, role)
}

// runLeaderKilled kills the store's leader, which costs no more than its election.
func runLeaderKilled(t *trial) {
	role, j := t.named("r"), t.judge()
	longer := func(c *coordinator.Config) { c.TTL = 20 * time.Second }
	a, b := t.pair(j, longer, role)
	t.inLine(b.link, role)
	t.disturb("kill the leader", t.store.KillLeader)
	t.pause(a.config.Outage())
	if j.count(role) != 1 || !j.spell(role, 0).told.IsZero() {
		t.errorf("the death of the store's leader changed something: %s", j.tell(role))
	}
}

// runStorePaused stops the servers for longer than the promise: their connections stay open, but
// nothing comes of them.
func runStorePaused(t *trial) {
	role, j := t.named("r"), t.judge()
	t.contend(j, "a", nil, role)
	j.active(role, "a", 0)
	b := t.contend(j, "b", nil, role)
	t.inLine(b.link, role)
	resume, err := t.store.Pause()
	if err != nil {
		t.fatalf("pause: %v", err)
	}
	t.after(func() { _ = resume() }) // if the case did not get there
	n := j.count(role)
	t.pause(t.TTL * 3 / 2)
	j.await(role, "nobody works", func(all []*spell) bool { return !all[len(all)-1].ended.IsZero() })
	if err := resume(); err != nil {
		t.fatalf("resume: %v", err)
	}
	at := time.Now()
	j.await(role, "somebody works again", func(all []*spell) bool { return len(all) > n })
	t.await(b.link, role, "both back in line", func(st lock.Standing) bool { return !st.Term.Vacant() && len(st.Line) == 1 })
	if took := time.Since(at); took > 2*t.TTL+t.slack() {
		t.errorf("both are in line again %v after the store went on, want at most %v", took, 2*t.TTL)
	}
}

// runStopExit has work that does not return when a stop is requested. Its role is kept for as
// long as the stop may take, and then its process ends.
func runStopExit(t *trial) {
	role, j := t.named("r"), t.judge()
	exits := make(chan time.Time, 1)
	a := t.contend(j, "a", func(c *coordinator.Config) {
		c.StopTimeout = 3 * t.TTL
		c.Exit = func() { exits <- time.Now() }
	}, role)
	j.active(role, "a", 0)
	b := t.contend(j, "b", nil, role)
	t.inLine(b.link, role)
	asked := time.Now()
	a.cancel()
	select {
	case at := <-exits:
		if took := at.Sub(asked); took < a.config.StopTimeout || took > a.config.StopTimeout+t.slack() {
			t.errorf("the process whose work does not stop was ended after %v, want %v", took, a.config.StopTimeout)
		}
	case <-time.After(a.config.StopTimeout + t.patience()):
		t.errorf("the process whose work does not stop was not ended within %v", a.config.StopTimeout+t.patience())
		a.kill()
	}
	if began := j.active(role, "b", 1).began; began.Before(asked.Add(a.config.StopTimeout)) {
		t.errorf("the standby works %v after a stop was asked for, before the work had ended", began.Sub(asked))
	}
}

// runStopOutage stops an active that cannot reach the store: that takes no longer than its
// budget, and others follow when its promise is over.
func runStopOutage(t *trial) {
	role, j := t.named("r"), t.judge()
	a, b := t.pair(j, nil, role)
	t.inLine(b.link, role)
	a.set(weather{cut: true})
	cut := time.Now()
	if err := a.stop(); err != nil {
		t.errorf("Run ends with %v", err)
	}
	if took, most := time.Since(cut), 2*t.TTL+t.slack(); took > most {
		t.errorf("Run returned %v after it was told to stop in an outage, want at most %v", took, most)
	}
	if took := j.active(role, "b", 1).began.Sub(cut); took > b.takeover() {
		t.errorf("the standby works %v after the active was cut off, want at most %v", took, b.takeover())
	}
}

// runRolledBack restores the store's state of two terms ago. A contender that saw the greater
// token competes no more until the floor is raised. One that asked before it saw that may be
// granted a token that is greater than all others; then all is well again.
func runRolledBack(t *trial) {
	role := t.named("r")
	l, j := t.open(), t.judge()
	t.contend(j, "a", nil, role)
	t.contend(j, "b", nil, role)
	last := t.await(l, role, "one active, one standby", oneAndOne).Term.Token
	restore := t.save()
	for range 2 { // the backup names a holder that has given the role up, and lives
		last = t.passOn(l, role)
	}
	j.await(role, "somebody works in the last term", func(all []*spell) bool {
		now := all[len(all)-1]
		return now.token >= last && now.told.IsZero()
	})
	t.disturb("restore", restore)
	j.await(role, "nobody works", func(all []*spell) bool { return !all[len(all)-1].ended.IsZero() })
	n := j.count(role)
	t.pause(2 * t.TTL)
	if now := j.count(role); now != n && j.spell(role, n).token > j.spell(role, n-1).token {
		return
	} else if now != n {
		t.errorf("somebody works in a store that was rolled back: %s", j.tell(role))
	}
	above := j.spell(role, n-1).token + 1_000
	t.must("raise", func(ctx context.Context) error { return l.Raise(ctx, above) })
	j.await(role, "somebody works again", func(all []*spell) bool {
		now := all[len(all)-1]
		return len(all) > n && now.told.IsZero() && now.token > above
	})
}

// passOn hands the role to the standby, and returns its new token. On a busy machine a standby
// that was named to the active may already be gone: then the next one is named.
func (t *trial) passOn(l lock.Locker, role string) lock.Token {
	for st := t.await(l, role, "one active, one standby", oneAndOne); ; {
		t.must("ask", func(ctx context.Context) error {
			err := l.Ask(ctx, role, lock.Request{Token: st.Term.Token, To: st.Line[0].Session, By: "the suite"})
			if errors.Is(err, lock.ErrMoved) { // it moved by itself
				return nil
			}
			return err
		})
		now := t.await(l, role, "another term, or another standby", func(now lock.Standing) bool {
			return oneAndOne(now) && (now.Term.Token > st.Term.Token || now.Line[0].Session != st.Line[0].Session)
		})
		if now.Term.Token > st.Term.Token {
			return now.Term.Token
		}
		st = now
	}
}
