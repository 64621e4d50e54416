// Package machine is the protocol of one contender as a pure state machine. [Machine.Step] takes
// one event and the time, and says what to do; [Machine.Wake] says when it must be called next.
// The machine reads no clock, starts no goroutine, calls no store, logs nothing and draws no
// random number, so a test can put it in every state and replay any history.
//
// It is made of plain values: one session, the roles that the session carries (each in one
// [Phase]), and a sight of every other session. Read session.go, then role.go.
package machine

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A Machine is all that one process knows, and decides what to do. It is not safe for concurrent
// use.
type Machine struct {
	Rules
	session session
	roles   map[string]role
	sights  map[lock.SessionID]sight
	line    map[string][]lock.SessionID // the line of each role's last standing
	failed  bool                        // there is nothing to compete for

	engaged int                    // how many of roles we hold or are taking
	holds   map[lock.SessionID]int // how many of them each session holds, according to the store

	changed []string // the roles that the last Step may have changed
	wake    Instant  // when Step must be called at the latest
}

// New returns a machine that has not registered yet.
func New(r Rules, roles ...string) *Machine {
	m := &Machine{
		Rules: r, session: session{number: 1, sick: r.Gated, disk: r.Disk},
		roles:  map[string]role{},
		sights: map[lock.SessionID]sight{},
		line:   map[string][]lock.SessionID{},
		holds:  map[lock.SessionID]int{},
	}
	for _, name := range roles {
		m.roles[name] = role{name: name}
	}
	return m
}

// Step records one event and returns what to do about it, in that order. The result depends only
// on the events so far and on now, which never moves back.
//
// An event about one role of a thousand costs nothing for the others, unless it changed the
// session.
func (m *Machine) Step(now Instant, e Event) []Action {
	before := m.session
	concerned := func() []string {
		if name := e.role(); name != "" && m.session == before {
			return []string{name}
		}
		return m.names()
	}
	m.observe(now, e)
	do := m.decide(now, concerned())
	m.changed = concerned() // the decisions may have changed the session
	next := now.Plus(m.next(now))
	if len(m.changed) == len(m.roles) || now.Until(next) < now.Until(m.wake) {
		m.wake = next
	}
	return do
}

// Wake is how long it is until Step must be called with a Tick, if nothing else happens.
func (m *Machine) Wake(now Instant) time.Duration { return max(0, now.Until(m.wake)) }

// Over reports whether there is nothing left to do.
func (m *Machine) Over() bool { return m.session.phase == ended }

func (m *Machine) names() []string { return slices.Sorted(maps.Keys(m.roles)) }

func (m *Machine) observe(now Instant, e Event) {
	switch e := e.(type) {
	case Stop:
		m.session = m.session.stop(m.Rules, now)
	case Checked:
		m.session.rebid = m.session.rebid || m.session.sick == e.Healthy
		m.session.sick = !e.Healthy
	case Wrote:
		m.session.rebid = m.session.rebid || m.session.disk != e.Disk
		m.session.disk = e.Disk
	case Stalled:
		m.put(m.roles[e.Role].stalled(e))
		m.session.rebid = true // our bid is now behind all that have not stalled
	case Rebid:
		m.session.rebid = true
	case Stood:
		m.stood(now, e)
	case Unseen:
		m.unseen(now, e)
	case Registered:
		m.claimed(e)
		m.session = m.session.registered(m.Rules, now, e)
		m.failed = m.failed || m.session.isRefused(m.Rules, now, e.Outcome)
	case Beaten:
		m.session = m.session.beaten(now, e)
		m.answers(now, e)
	case Closed:
		m.answered(now, 0, e.Outcome)
		m.closed(now, e)
	case Evicted:
		m.answered(now, 0, e.Outcome)
		m.evicted(now, e)
	case Intended:
		m.answered(now, 0, e.Outcome)
		m.intended(now, e)
	case Fenced:
		m.fenced(e)
	case Acquired:
		if r := m.roles[e.Role]; m.answered(now, e.Number, e.Outcome) {
			m.put(r.acquired(m.Rules, m.session, now, e))
		}
	case Released:
		if r := m.roles[e.Role]; m.answered(now, e.Number, e.Outcome) {
			m.put(r.released(m.Rules, now, e))
		}
	case HandedOff:
		if r := m.roles[e.Role]; m.answered(now, e.Number, e.Outcome) {
			m.put(r.handedOff(m.Rules, now, e))
		}
	case Returned:
		r := m.roles[e.Role]
		if e.Number == m.session.number && r.missed(e) {
			m.session = m.session.lose(now)
		}
		r = r.returned(m.Rules, now, e)
		m.session.rebid = m.session.rebid || r.done
		m.put(r)
	}
}

// put is the only place where a role changes, so that the counts over all of them stay right.
func (m *Machine) put(r role) {
	old := m.roles[r.name]
	m.roles[r.name] = r
	if r.engaged() != old.engaged() {
		m.engaged++
		if old.engaged() {
			m.engaged -= 2
		}
	}
	was, is := old.store.heldBy(), r.store.heldBy()
	if was == is {
		return
	}
	if m.holds[was]--; m.holds[was] <= 0 {
		delete(m.holds, was)
	}
	if is != "" {
		m.holds[is]++
	}
}

// answered records what the answer to a call of several round trips says about the session. It
// reports whether the call was made for the current registration.
func (m *Machine) answered(now Instant, number int, o lock.Outcome) bool {
	if o == lock.Unknown {
		m.session = m.session.unanswered(m.Rules)
	}
	current := number == m.session.number
	if current && o == lock.Lost {
		m.session = m.session.lose(now)
	}
	return current
}

// stood records a standing: of its role, and of everybody in its line.
func (m *Machine) stood(now Instant, e Stood) {
	st, me := e.Standing, m.ID(m.session.number)
	if st.Term.Holder.Session == me && st.Term.End != (lock.End{}) {
		m.session = m.session.lose(now)
	}
	var line []lock.SessionID
	lives := false // another has the role, and has beaten just now: we ask for nothing that could be refused
	for i, member := range append([]lock.Member{st.Term.Holder}, st.Line...) {
		past := i == 0 && st.Term.Vacant()
		if member.Session == "" || member.Session == me || past {
			continue
		}
		line = append(line, member.Session)
		s := m.sights[member.Session].observe(member, e.At)
		if i == 0 && st.Term.Token != m.roles[st.Role].store.held {
			s.since, s.fence = e.At, s.fence.anew() // until now it had no reason to beat more often
		}
		m.sights[member.Session], lives = s, lives || i == 0 && s.since == e.At
	}
	r := m.roles[st.Role].look(m.Rules, m.session, now, st)
	if lives {
		r.refused = Instant{}
	}
	if v := r.store; v.vanished && !v.vacant && v.holder != me && !slices.Contains(line, v.holder) {
		line = append(line, v.holder) // the role's record is gone: its holder is still watched
		absent := lock.Member{Contender: lock.Contender{Session: v.holder}, Promise: m.sights[v.holder].promise}
		m.sights[v.holder] = m.sights[v.holder].observe(absent, e.At)
	}
	before := m.line[st.Role]
	m.line[st.Role] = line
	m.put(r)
	for _, id := range before {
		if !slices.Contains(line, id) && !m.inLine(id) { // the silence seen so far counts for every role
			delete(m.sights, id)
		}
	}
}

// claimed records that another session has our contender ID: we give up if its beat moves,
// and end it if it is silent or its process is proved dead.
func (m *Machine) claimed(e Registered) {
	if e.Outcome != lock.Held || e.Number != m.session.number {
		return
	}
	s := m.sights[e.Holder.Session].observe(e.Holder, e.At)
	s.twin = true
	s.dead = s.dead || e.Dead || m.own(e.Holder.Session)
	m.sights[e.Holder.Session] = s
	m.failed = m.failed || s.moved && !s.dead // what a dead process had sent may still arrive
}

// own reports whether the session is an earlier registration of this process: nobody works under
// it when another is tried.
func (m *Machine) own(id lock.SessionID) bool {
	return strings.HasPrefix(string(id), m.Nonce+"-")
}

// evicted records the outcome of an eviction. It does not mark the role vacant; the next
// standing does, and it may differ from the last one if the store was rolled back. A role
// whose record is gone gets no further standing, so it is marked here.
func (m *Machine) evicted(now Instant, e Evicted) {
	s, seen := m.sights[e.Session]
	if !seen {
		return
	}
	if e.Outcome == lock.Moved && !m.inLine(e.Session) {
		delete(m.sights, e.Session) // known only by its claim: the next refusal says more
		return
	}
	if e.Outcome != lock.OK {
		s.calling, s.retry = false, now.Plus(m.Retry)
		if e.Outcome == lock.Refused || e.Outcome == lock.Moved && !s.dead { // it lives, or will be shown to have moved
			s.retry = now.Plus(m.BeatEvery)
		}
		m.sights[e.Session] = s
		m.evictionRefused(now, e)
		return
	}
	delete(m.sights, e.Session)
	m.session.retry = Instant{} // it may have had our ID
	for _, r := range m.roles {
		if v := &r.store; v.holder == e.Session && v.vanished && !v.vacant {
			v.vacant, v.since, r.retry = true, now, Instant{}
			m.put(r)
		}
	}
}

func (m *Machine) inLine(id lock.SessionID) bool {
	for _, line := range m.line {
		if slices.Contains(line, id) {
			return true
		}
	}
	return false
}

// closed records that the session's end is written, and with it that of every term it held.
func (m *Machine) closed(now Instant, e Closed) {
	if e.Number != m.session.number {
		return
	}
	m.session = m.session.closed(m.Rules, now, e)
	m.failed = m.failed || m.session.isRefused(m.Rules, now, e.Outcome)
	if m.session.number == e.Number && m.session.phase != ended {
		return
	}
	for _, r := range m.roles {
		m.put(r.over())
	}
}

// decide says what to do about the named roles, the session and the sights.
func (m *Machine) decide(now Instant, names []string) []Action {
	before := m.session
	do := m.giveUp(now, names)
	if m.done() {
		m.session = m.session.stop(m.Rules, now)
	}
	var more []Action
	m.session, more = m.session.decide(m.Rules, m.busy, now)
	do = append(do, more...)
	if m.session != before { // it concerns every role
		names = m.names()
	}
	for _, name := range names {
		r, more := m.roles[name].decide(m.Rules, m.session, now)
		m.put(r)
		do = append(do, more...)
	}
	do = append(do, m.engage(now)...)
	do = append(do, m.evictSilent(now)...)
	return append(do, m.fenceSilent(now)...)
}

// engage makes the session beat like one that holds a role from when it takes the first one, and
// at once, beside the call that takes it: work waits for that beat.
func (m *Machine) engage(now Instant) []Action {
	switch engaged := m.engaged > 0; {
	case engaged == !m.session.engaged.IsZero():
		return nil
	case !engaged:
		m.session.engaged = Instant{}
		return nil
	}
	var do []Action
	m.session.engaged = now
	m.session, do = m.session.beat(m.Rules, now)
	return do
}

// evictSilent ends every session that was silent for its whole promise, by compare-and-swap on
// the very beat that was seen.
func (m *Machine) evictSilent(now Instant) []Action {
	if m.session.stopping {
		return nil
	}
	var silent []lock.SessionID
	for id, s := range m.sights {
		if !s.calling && s.due(now, m.holds[id] > 0) <= 0 {
			silent = append(silent, id)
		}
	}
	slices.SortFunc(silent, cmp.Compare[lock.SessionID])
	var do []Action
	for _, id := range silent {
		s := m.sights[id]
		s.calling = true
		m.sights[id] = s
		do = append(do, Evict{id, s.beat})
	}
	return do
}

// busy reports whether any work has not returned.
func (m *Machine) busy() bool {
	for _, r := range m.roles {
		if r.working() {
			return true
		}
	}
	return false
}

// done reports whether the work of every role is done for good.
func (m *Machine) done() bool {
	for _, r := range m.roles {
		if !r.done || r.working() {
			return false
		}
	}
	return true
}

// next is how long the session, the silence of others and the changed roles can wait without an
// event.
func (m *Machine) next(now Instant) time.Duration {
	d := m.session.next(m.Rules, m.busy, now)
	for _, name := range m.changed {
		d = min(d, m.roles[name].next(m.Rules, m.session, now))
	}
	if !m.session.stopping {
		for id, s := range m.sights {
			if !s.calling {
				d = min(d, s.due(now, m.holds[id] > 0), m.fenceIn(id, s, now))
			}
		}
	}
	return max(d, 0)
}
