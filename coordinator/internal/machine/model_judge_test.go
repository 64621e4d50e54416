package machine

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// violate notes the first violation that counts.
func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if w.fault == "" && strings.HasPrefix(text, w.only) {
		w.fault = text
	}
}

// hear keeps what the process receives of others, for the judge.
func (w *world) hear(p *proc, e Event) {
	take := func(m lock.Member, holds bool) {
		h, seen := p.heard[m.Session]
		if !seen || h.beat != m.Beat {
			h = hearing{beat: m.Beat, at: p.clock}
		}
		h.holds = holds
		p.heard[m.Session] = h
	}
	switch e := e.(type) {
	case Stood:
		t := e.Standing.Term
		p.kept = !e.Standing.Pause.IsZero() && (t.Vacant() || t.Holder.Session != p.machine.ID(p.machine.session.number))
		if t := e.Standing.Term; !t.Vacant() {
			take(t.Holder, true)
		}
		for _, m := range e.Standing.Line {
			take(m, false)
		}
	case Registered:
		if e.Outcome == lock.Held {
			take(e.Holder, true)
		}
	case Beaten:
		p.storeAnswers(e, w.ttl)
	}
}

// idle reports whether the session that was heard only stands by, and keeps nobody out.
func (h hearing) idle(p *proc) bool { return !h.holds && p.registered }

// judgeAction judges what a machine decided, before it is done.
func (w *world) judgeAction(p *proc, a Action) {
	left := p.machine.session.left(p.machine.Rules, p.now())
	switch a := a.(type) {
	case Start:
		if p.work.running {
			w.violate("second work: %s starts %d while %d runs", p.name, a.Token, p.work.token)
		}
		if a.Token <= w.started {
			w.violate("token: %s starts under %d after %d", p.name, a.Token, w.started)
		}
		if left <= w.grace {
			w.violate("late start: %s starts with %d left", p.name, left)
		}
	case Fence:
		w.judgeFence(p, a)
	case Acquire:
		if p.kept {
			w.violate("paused: %s asks for a role that is paused", p.name)
		}
	case Cancel:
		if w.settled && errors.Is(a.Cause, ErrDeadline) {
			w.violate("late beat: %s loses its term, and nothing was lost or late", p.name)
		}
	case Release, Handoff, Close:
		if p.work.running {
			w.violate("early release: %s gives up the role while its work runs", p.name)
		}
	case Evict:
		h, seen := p.heard[a.Session]
		silent := seen && h.beat == a.Beat && p.clock-h.at >= w.ttl+w.skew
		own := p.machine.own(a.Session) && a.Session != p.machine.ID(p.machine.session.number) &&
			(!p.work.running || a.Session != p.machine.ID(p.work.number))
		if !silent && !own && !w.fencers.said(p, a) && (w.noghost || w.living(a.Session)) {
			w.violate("early eviction: %s evicts %s, heard %d ago", p.name, a.Session, p.clock-h.at)
		}
		if h.idle(p) && !own && w.living(a.Session) && p.clock-h.at < 2*(w.ttl+w.skew) {
			w.violate("impatient: %s evicts the idle %s, heard %d ago", p.name, a.Session, p.clock-h.at)
		}
	}
}

// judgeProcess judges a process after its machine had its turn.
func (w *world) judgeProcess(p *proc) {
	if !p.work.running {
		return
	}
	s := p.machine.session
	left := s.left(p.machine.Rules, p.now())
	switch {
	case left <= 0:
		w.violate("no kill: %s works on past its deadline", p.name)
	case (s.phase != live || left <= w.grace) && !p.work.told:
		w.violate("not told: %s works on with %d left", p.name, left)
	case p.machine.Over():
		w.violate("over: %s has ended while its work runs", p.name)
	}
}

// judgeCommit judges a grant: it must be to a session that has a record.
func (w *world) judgeCommit(c ledger.Command, r ledger.Result, before lock.Token) {
	if r.Code == ledger.OK && r.Changed && (c.Op == ledger.Acquire || c.Op == ledger.Handoff) && w.paused() {
		w.violate("paused: a term begins in a pause")
	}
	if r.Code != ledger.OK || c.Op != ledger.Acquire && (c.Op != ledger.Handoff || !r.Changed) {
		return
	}
	to := c.Session
	if c.Op == ledger.Handoff {
		to = c.To
	}
	if _, there := w.ledger.Sessions[to]; !there {
		w.violate("phantom: a grant to %s, which has no record", to)
	}
	if c.Op == ledger.Handoff && c.Token != before {
		w.violate("stale handoff: of %d, which is over", c.Token)
	}
}

// judgeEviction judges the end of another session: its own deadline must be behind it. (An
// operator or a witness who knows better does not come this way.)
func (w *world) judgeEviction(c ledger.Command, r ledger.Result) {
	if c.Op != ledger.Evict || r.Code != ledger.OK {
		return
	}
	for _, p := range w.procs {
		s := p.machine.session
		if p.up && p.machine.ID(s.number) == c.Session && s.phase == live && s.left(p.machine.Rules, p.now()) > 0 {
			w.violate("deadline ahead: %s is evicted with %d left", c.Session, s.left(p.machine.Rules, p.now()))
		}
	}
}

// judge judges the world: no two work whose own deadlines are ahead.
func (w *world) judge() string {
	active := ""
	for _, p := range w.procs {
		if p.work.running && p.machine.session.left(p.machine.Rules, p.now()) > 0 {
			active += p.name
		}
	}
	if len(active) > 1 {
		w.violate("overlap: %s work at once", active)
	}
	return w.fault
}

// everybody is the fair continuation in which nobody is out.
const everybody = -1

// fair goes on from here, on a copy, with nothing lost and everybody prompt, but
// for the process that is out: dead, or hung and cut off. Somebody must work
// soon, and beats must be in time. It returns what is wrong.
func (w *world) fair(out int, dead bool) string {
	c := w.clone()
	c.log, c.m = w.log, 100
	if c.paused() {
		c.pause(false)
	}
	if out != everybody {
		if dead {
			c.crash(c.procs[out])
		}
		c.procs[out].msgs = nil
	}
	bound := 4*(w.ttl+w.skew) + 24
	for worked, t := time.Duration(0), time.Duration(0); t <= bound; t++ {
		for range 6 {
			for i, p := range c.procs {
				if i != out {
					c.calm(p)
				}
			}
		}
		if c.judge() != "" {
			return c.fault
		}
		if c.someoneWorks(out) {
			worked++
		}
		if t >= 2+w.beat {
			c.judgeBeats(out)
		}
		c.settled = t >= w.ttl+w.skew
		if c.fault != "" || worked >= w.ttl {
			return c.fault
		}
		c.tick([3]uint8{1, 1, 1})
	}
	c.violate("stuck: nobody works within %d ticks (out: %d, dead: %v)", bound, out, dead)
	return c.fault
}

func (w *world) someoneWorks(out int) bool {
	for i, p := range w.procs {
		if i != out && p.work.running && !p.work.told {
			return true
		}
	}
	return false
}

// judgeBeats expects that the last acknowledged beat of each session is recent,
// where nothing was lost.
func (w *world) judgeBeats(out int) {
	for i, p := range w.procs {
		s := p.machine.session
		if i == out || !p.up || s.phase != live || s.sent == (Instant{}) {
			continue
		}
		old, every := p.now().Most(s.sent), p.machine.IdleEvery
		if !s.engaged.IsZero() {
			old, every = min(old, p.now().Most(s.engaged)), w.beat
		}
		if old > every {
			w.violate("late beat: the last of %s is %d old", p.name, old)
		}
	}
}

// calm lets everything that is on its way to and from p arrive, and shows it how
// things stand. One that has ended is started again.
func (w *world) calm(p *proc) {
	if !p.up {
		w.restart(p)
	}
	w.flush(p)
	if p.standing != nil {
		w.see(p)
	}
	if p.up && p.registered {
		w.capture(p)
		w.see(p)
	}
	w.step(p, Tick{})
	w.flush(p)
	for p.up && len(p.commands) > 0 {
		w.fence(p, false)
	}
	if p.up && p.work.running && p.work.told {
		w.workEnds(p, Cancelled)
	}
}

func (w *world) flush(p *proc) {
	for range 32 {
		switch {
		case len(p.msgs) == 0:
			return
		case p.msgs[0].state == asked:
			orphan := !p.msgs[0].waiting
			w.commit(p, 0)
			if orphan {
				continue
			}
			w.answer(p, 0, false)
		default:
			w.answer(p, 0, p.msgs[0].state == dropped)
		}
	}
}
