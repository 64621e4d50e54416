package machine

import (
	"cmp"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A fence is how far this process has come with fencing a session for its silence since one beat.
// A beat is due every ttl/4. When one is overdue by another ttl/8, our own session beats at once:
// the store shall show that it answers, or the silence may be the store's. A ttl/4 after that
// answer the intent is written, by compare-and-swap on the beat that was seen, and the process that
// wrote it runs its command. Only that command's success ends the session, on that same beat, before
// it was silent for its promise.
type fence struct {
	phase    fencePhase
	beat     lock.Beat // that the phase is about
	answered Instant   // when the store had answered us since a beat was overdue; zero: it has not
	retry    Instant   // the intent is not written before
}

type fencePhase uint8

const (
	unfenced  fencePhase = iota
	intending            // the intent is being written
	intended             // it is written, and the command has yet to be started
	fencing              // the command runs
	unfit                // somebody else's intent stands, or our command failed: the promise counts
	fenced               // our command says that the host is dead
)

// anew is the fence once there is another beat. What is under way is awaited, so that one command
// runs at a time.
func (f fence) anew() fence {
	if f.phase == intending || f.phase == fencing {
		return fence{phase: f.phase, beat: f.beat}
	}
	return fence{}
}

// overdue is how long a beat of the session has been overdue; negative: it is not.
func (s sight) overdue(at Instant) time.Duration {
	return at.Least(s.since) - s.promise.TTL/4 - s.promise.TTL/8
}

// fenceIn is how long it is until something is to be done about fencing the session: a beat of
// ours, the intent, or the command. A missing record does not count as silence here: the janitor
// may have taken the record of a session that lives.
func (m *Machine) fenceIn(id lock.SessionID, s sight, now Instant) time.Duration {
	f := s.fence
	switch {
	case !m.Fences || m.session.phase != live || m.holds[id] == 0:
		return never
	case s.beat == lock.Absent || s.promise.TTL <= 0 || s.dead || s.calling || f.phase > intended || f.phase == intending:
		return never
	case f.answered.IsZero() && (m.session.tries > 0 || m.session.open >= OpenBeats):
		return never // the answer to that beat comes first
	}
	in := -s.overdue(now)
	if !f.answered.IsZero() {
		in = max(s.promise.TTL/4-now.Least(f.answered), now.Until(f.retry))
	}
	if in <= 0 && m.fenceFor(id) == "" {
		return never
	}
	return in
}

// fenceFor is the first role that the session holds and that this process would take now; "": none.
func (m *Machine) fenceFor(id lock.SessionID) string {
	for _, name := range m.names() {
		r := m.roles[name]
		if v := r.store; v.heldBy() == id && !v.vanished && v.paused == "" && !v.rolledBack() && !r.unwanted(m.session) && r.phase == Standby {
			return name
		}
	}
	return ""
}

// fenceSilent does what is due about fencing silent sessions. A session that holds nothing is in
// nobody's way.
func (m *Machine) fenceSilent(now Instant) (do []Action) {
	if !m.Fences || m.session.stopping {
		return nil
	}
	var due []lock.SessionID
	for id, s := range m.sights {
		if m.fenceIn(id, s, now) <= 0 {
			due = append(due, id)
		}
	}
	slices.SortFunc(due, cmp.Compare[lock.SessionID])
	for _, id := range due {
		s, role := m.sights[id], m.fenceFor(id)
		switch {
		case s.fence.answered.IsZero():
			if m.session.tries > 0 {
				continue // it is under way for another one's silence
			}
			var beat []Action
			m.session.rebid = true
			m.session, beat = m.session.beat(m.Rules, now)
			do = append(do, beat...)
		case s.fence.phase == intended:
			s.fence.phase = fencing
			do = append(do, Fence{role, id, s.beat, s.due(now, true)})
		default:
			s.fence.phase, s.fence.beat = intending, s.beat
			do = append(do, Intend{role, m.roles[role].store.held, id, s.beat})
		}
		m.sights[id] = s
	}
	return do
}

// answers records that the store answers us, for those whose beat was overdue when we asked.
func (m *Machine) answers(now Instant, e Beaten) {
	if !m.Fences || e.Outcome != lock.OK || e.Number != m.session.number {
		return
	}
	for id, s := range m.sights {
		if s.fence.answered.IsZero() && s.overdue(e.At) >= 0 {
			s.fence.answered = now
			m.sights[id] = s
		}
	}
}

// intended records whether our intent is written. It is void once there was another beat.
func (m *Machine) intended(now Instant, e Intended) {
	s, seen := m.sights[e.Session]
	if !seen || s.fence.phase != intending || s.fence.beat != e.Beat {
		return
	}
	switch {
	case s.beat != e.Beat:
		s.fence = fence{answered: s.fence.answered}
	case e.Outcome == lock.OK:
		s.fence.phase, s.fence.retry = intended, Instant{}
	case e.Outcome == lock.Unknown: // written or not, it is ours to write again
		s.fence.phase, s.fence.retry = unfenced, now.Plus(m.Retry)
	default:
		s.fence.phase = unfit
	}
	m.sights[e.Session] = s
}

// fenced records the fence command's word. It says nothing about a beat that came after the intent:
// a session that has beaten again is not evicted on it.
func (m *Machine) fenced(e Fenced) {
	s, seen := m.sights[e.Session]
	if !seen || s.fence.phase != fencing || s.fence.beat != e.Beat {
		return
	}
	switch {
	case s.beat != e.Beat:
		s.fence = fence{answered: s.fence.answered}
	case e.Dead:
		s.fence.phase = fenced
	default:
		s.fence.phase = unfit
	}
	m.sights[e.Session] = s
}
