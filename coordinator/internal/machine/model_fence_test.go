package machine

import (
	"maps"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

var outcomes = map[ledger.Code]lock.Outcome{
	ledger.OK: lock.OK, ledger.Held: lock.Held, ledger.Lost: lock.Lost, ledger.Moved: lock.Moved, ledger.Gone: lock.Gone,
	ledger.Permanent: lock.Refused,
}

// A hearing is a beat, and when this process first received it.
type hearing struct {
	beat  lock.Beat
	at    time.Duration
	holds bool // a role, as it was last shown

	answered time.Duration // when the store first answered a beat of ours that began after one of theirs was due
}

// fencers are who fences whom, for the judge.
type fencers map[silence]fencer

// A silence is that of a session since a beat.
type silence struct {
	session lock.SessionID
	beat    lock.Beat
}

type fencer struct {
	session lock.SessionID // whose intent was committed
	ran     bool           // its command was started
	said    bool           // and said that the host is dead
}

// said reports whether p's own fence command said that the host is dead of the session that it
// evicts, on that very beat.
func (f fencers) said(p *proc, e Evict) bool {
	one := f[silence{e.Session, e.Beat}]
	return one.said && p.machine.own(one.session)
}

// intent is what an Intend asks of the store.
func (w *world) intent(p *proc, a Intend) ledger.Command {
	f := lock.Fence{Token: a.Token, Beat: a.Beat, By: p.name, Session: p.machine.ID(p.machine.session.number)}
	return ledger.Command{Op: ledger.Fence, Role: a.Role, To: a.Session, Fence: f}
}

// fence lets p's oldest fence command end. One that succeeds has killed the process.
func (w *world) fence(p *proc, dead bool) {
	f := p.commands[0]
	p.commands = p.commands[1:]
	if one := w.fencers[silence{f.Session, f.Beat}]; dead {
		for _, q := range w.procs {
			if q.up && q.machine.own(f.Session) {
				w.crash(q)
			}
		}
		one.said = true
		w.setFencer(silence{f.Session, f.Beat}, one)
	}
	w.step(p, Fenced{f.Session, f.Beat, dead})
}

func (w *world) setFencer(s silence, f fencer) {
	if w.fencers = maps.Clone(w.fencers); w.fencers == nil {
		w.fencers = fencers{}
	}
	w.fencers[s] = f
}

// storeAnswers keeps when the store answered p, for those whose beat was due when it was asked.
func (p *proc) storeAnswers(e Beaten, ttl time.Duration) {
	for id, h := range p.heard {
		if e.Outcome == lock.OK && h.answered == 0 && e.At.Mono-h.at >= ttl/4+ttl/8 {
			h.answered = p.clock
			p.heard[id] = h
		}
	}
}

// judgeIntent judges who has an intent written: one for each beat of one who has the role.
func (w *world) judgeIntent(c ledger.Command, r ledger.Result) {
	if c.Op != ledger.Fence || r.Code != ledger.OK {
		return
	}
	s := silence{c.To, c.Fence.Beat}
	one, found := w.fencers[s]
	switch {
	case found && one.session != c.Fence.Session:
		w.violate("two fencers: %s and %s of %s", one.session, c.Fence.Session, c.To)
	case !found:
		w.setFencer(s, fencer{session: c.Fence.Session})
	}
}

// judgeFence judges that a fence command is started: after its intent was committed, once, and
// against one whose beat has been missing for a ttl/4 in which the store answered.
func (w *world) judgeFence(p *proc, a Fence) {
	s := silence{a.Session, a.Beat}
	one, h := w.fencers[s], p.heard[a.Session]
	switch {
	case !p.machine.own(one.session):
		w.violate("uncommitted fence: %s fences %s", p.name, a.Session)
	case one.ran:
		w.violate("second fence: %s fences %s again, at beat %d", p.name, a.Session, a.Beat)
	case h.beat != a.Beat || h.answered == 0 || p.clock-h.answered < w.ttl/4:
		w.violate("early fence: %s fences %s, heard %d ago", p.name, a.Session, p.clock-h.at)
	case !h.holds:
		w.violate("needless fence: %s fences %s, which holds nothing", p.name, a.Session)
	case a.For <= 0 || a.For > w.ttl+w.skew:
		w.violate("endless fence: %s fences %s for %d", p.name, a.Session, a.For)
	}
	one.ran = true
	w.setFencer(s, one)
}
