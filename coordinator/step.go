package coordinator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A machine is all that one process knows, and what it does about it. Its parts
// are plain comparable values: one session, the roles that it carries, and what
// it has seen of others. It reads no clock, starts no goroutine, calls no store,
// logs nothing and draws no random number: step says what to do, and the loop in
// coordinator.go does it.
type machine struct {
	rules
	session session
	roles   map[string]role
	sights  map[lock.SessionID]sight
	line    map[string][]lock.SessionID // who stood in each role's last standing
	failed  bool                        // fail was decided
}

// rules are what a configuration means for the machine.
type rules struct {
	nonce       string // of this process; a session's ID is this and the number of the registration
	ttl, skew   time.Duration
	grace       time.Duration
	stopTimeout time.Duration
	beatEvery   time.Duration
	try         time.Duration
	hedgeFirst  time.Duration // from the first unacknowledged try of a beat to the second, at least
	hedgeNext   time.Duration // between the tries after that
	retry       time.Duration // between two tries of anything else
	turn        time.Duration // rank k waits k of these
	holdFirst   time.Duration // hold-down after the first failure; doubles
	holdMost    time.Duration
	closeFor    time.Duration // a stop waits so long for the session's end to be written
	exclusive   []string      // roles for which nobody stands by here
}

func rulesOf(c Config, nonce string) rules {
	return rules{
		nonce: nonce, ttl: c.TTL, skew: c.Skew, grace: c.Grace, stopTimeout: c.StopTimeout,
		beatEvery:  c.BeatEvery(),
		try:        c.Try(),
		hedgeFirst: 50 * time.Millisecond,
		hedgeNext:  min(c.TTL/10, 100*time.Millisecond),
		retry:      min(c.TTL/10, 100*time.Millisecond),
		turn:       50 * time.Millisecond,
		holdFirst:  250 * time.Millisecond,
		holdMost:   time.Minute,
		closeFor:   min(c.TTL, max(5*time.Second, trips[closeSession]*c.Try())), // after the promise others end it
		exclusive:  c.exclusive(),
	}
}

// id is the session ID of the n-th registration: new for each, never used again.
func (r rules) id(n int) lock.SessionID {
	return lock.SessionID(fmt.Sprintf("%s-%d", r.nonce, n))
}

// An event is one thing that happened. Only the fields that its kind needs are
// set.
type event struct {
	kind     kind
	role     string
	number   int     // of the registration that a call was made for
	at       Instant // when the call began; when a standing was received
	outcome  outcome
	token    lock.Token
	session  lock.SessionID // that was evicted
	standing lock.Standing
	holder   lock.Member // who has our ID
	dead     bool        // the holder's process is proved dead
}

type kind uint8

const (
	tick       kind = iota // time passed
	stop                   // a stop was asked for
	stood                  // a standing was received
	unseen                 // the watch failed, of one role or of all
	registered             // Register returned
	beaten                 // Beat returned
	closed                 // Session.Close returned
	evicted                // Evict returned
	acquired               // TryAcquire returned
	released               // Release returned
	handed                 // Handoff returned
	returned               // the work returned: ok, unknown for an error, cancelled after its context ended
	checked                // the health check returned: ok, unknown for an error
)

// An outcome is how a call went: package lock's errors.
type outcome uint8

const (
	unknown outcome = iota
	ok
	held
	lost
	moved
	gone
	permanent
	cancelled
)

// An action is one thing to do.
type action struct {
	do      verb
	role    string
	number  int
	token   lock.Token
	session lock.SessionID
	beat    lock.Beat
	cause   error
}

type verb uint8

const (
	register verb = iota + 1
	beat
	closeSession
	evict
	acquire
	release
	handoff
	startWork
	cancelWork // with cause
	exit       // work outlived its time
	fail       // give up: somebody else is there, or no try can succeed
)

func newMachine(r rules, bids []lock.Bid) *machine {
	m := &machine{
		rules: r, session: session{number: 1},
		roles:  map[string]role{},
		sights: map[lock.SessionID]sight{},
		line:   map[string][]lock.SessionID{},
	}
	for _, b := range bids {
		m.roles[b.Role] = role{}
	}
	return m
}

// step folds one event into what is known and decides what to do. roles are those that
// may be another thing now: an event about one of a thousand costs nothing for the others,
// while the session stays as it was.
func (m *machine) step(now Instant, e event) (do []action, roles []string) {
	before := m.session
	concerned := func() []string {
		if e.role != "" && m.session == before {
			return []string{e.role}
		}
		return m.names()
	}
	m.observe(now, e)
	do = m.decide(now, concerned()...)
	return do, concerned() // what was decided may have changed the session
}

func (m *machine) names() []string { return slices.Sorted(maps.Keys(m.roles)) }

// over reports whether there is nothing left to do.
func (m *machine) over() bool { return m.session.phase == ended }

func (m *machine) observe(now Instant, e event) {
	if e.outcome == unknown && slices.Contains(manyTrips, e.kind) {
		m.session = m.session.unanswered(m.rules)
	}
	switch e.kind {
	case stop:
		m.session = m.session.stop(m.rules, now)
	case stood:
		m.look(now, e)
	case unseen:
		m.unseen(now, e)
	case registered:
		m.claimed(e)
		m.session = m.session.registered(m.rules, now, e)
		m.failed = m.failed || e.outcome == permanent
	case checked:
		m.session.sick = e.outcome != ok
	case beaten:
		m.session = m.session.beaten(now, e)
	case closed:
		m.closed(now, e)
	case evicted:
		m.evicted(now, e)
	case acquired, released, handed, returned:
		if e.number == m.session.number && (e.outcome == lost || m.roles[e.role].missed(e)) {
			m.session = m.session.lose(now)
		}
		m.roles[e.role] = m.roles[e.role].observe(m.rules, m.session, now, e)
	}
}

// manyTrips are the calls that take several round trips, besides a registration.
var manyTrips = []kind{closed, evicted, acquired, released, handed}

// look takes in a standing: of its role, and of everybody in its line.
func (m *machine) look(now Instant, e event) {
	st, me := e.standing, m.id(m.session.number)
	if st.Term.Holder.Session == me && st.Term.End != (lock.End{}) && m.session.phase == live {
		m.session = m.session.lose(now)
	}
	var line []lock.SessionID
	for i, member := range append([]lock.Member{st.Term.Holder}, st.Line...) {
		past := i == 0 && st.Term.Vacant()
		if member.Session == "" || member.Session == me || past {
			continue
		}
		line = append(line, member.Session)
		m.sights[member.Session] = m.sights[member.Session].observe(member, e.at)
	}
	r := m.roles[st.Role].look(m.rules, m.session, now, st)
	if r.vanished && !r.vacant && r.holder != me && !slices.Contains(line, r.holder) {
		line = append(line, r.holder) // the role's record is gone: its holder is watched on
		absent := lock.Member{Contender: lock.Contender{Session: r.holder}, Promise: m.sights[r.holder].promise}
		m.sights[r.holder] = m.sights[r.holder].observe(absent, e.at)
	}
	before := m.line[st.Role]
	m.line[st.Role], m.roles[st.Role] = line, r
	for _, id := range before {
		if !slices.Contains(line, id) && !m.inLine(id) { // its silence counts for every role
			delete(m.sights, id)
		}
	}
}

// claimed takes in that another session has our ID: refused while its beat
// moves, ended when it is silent or its process is proved dead.
func (m *machine) claimed(e event) {
	if e.outcome != held || e.number != m.session.number {
		return
	}
	s := m.sights[e.holder.Session].observe(e.holder, e.at)
	s.dead = s.dead || e.dead || m.own(e.holder.Session)
	m.sights[e.holder.Session] = s
	m.failed = m.failed || s.moved
}

// own reports whether the session is an earlier registration of this process:
// nobody works under it when another is tried.
func (m *machine) own(id lock.SessionID) bool {
	return strings.HasPrefix(string(id), m.nonce+"-")
}

// evicted takes in how an eviction went. That a role is vacant then its standing says: if
// the store was rolled back meanwhile, it is another one than was seen last. Only where
// the role's record is gone there will be none.
func (m *machine) evicted(now Instant, e event) {
	s, seen := m.sights[e.session]
	if !seen {
		return
	}
	if e.outcome == moved && !m.inLine(e.session) {
		delete(m.sights, e.session) // known by its claim only: the next refusal says how it stands
		return
	}
	if e.outcome != ok {
		s.calling, s.retry = false, now.plus(m.retry)
		if e.outcome == permanent || e.outcome == moved && !s.dead { // it lives, or is shown to have moved
			s.retry = now.plus(m.beatEvery)
		}
		m.sights[e.session] = s
		m.evictionRefused(now, e)
		return
	}
	delete(m.sights, e.session)
	m.session.retry = Instant{} // it may have had our ID
	for name, r := range m.roles {
		if r.holder == e.session && r.vanished && !r.vacant {
			r.vacant, r.since, r.retry = true, now, Instant{}
			m.roles[name] = r
		}
	}
}

func (m *machine) inLine(id lock.SessionID) bool {
	for _, line := range m.line {
		if slices.Contains(line, id) {
			return true
		}
	}
	return false
}

// closed takes in that the session's end is written, and with it that of every
// term that it held.
func (m *machine) closed(now Instant, e event) {
	if e.number != m.session.number {
		return
	}
	m.failed = m.failed || e.outcome == permanent
	m.session = m.session.closed(m.rules, now, e)
	if m.session.number == e.number && m.session.phase != ended {
		return
	}
	for name, r := range m.roles {
		m.roles[name] = r.settled()
	}
}

// decide says what to do about the named roles, the session and the sights.
func (m *machine) decide(now Instant, names ...string) []action {
	before := m.session
	do := m.giveUp(now, names...)
	if m.done() {
		m.session = m.session.stop(m.rules, now)
	}
	var more []action
	m.session, more = m.session.decide(m.rules, m.busy, now)
	do = append(do, more...)
	if m.session != before { // it concerns every role
		names = m.names()
	}
	for _, name := range names {
		m.roles[name], more = m.roles[name].decide(m.rules, m.session, now)
		for _, a := range more {
			a.role, a.number = name, m.session.number
			do = append(do, a)
		}
	}
	return append(do, m.evictSilent(now)...)
}

// evictSilent ends every session that was silent for all of its promise, by
// compare-and-swap on the very beat that was seen.
func (m *machine) evictSilent(now Instant) []action {
	var do []action
	for id, s := range m.sights {
		if m.session.stopping || s.calling || s.due(now) > 0 {
			continue
		}
		s.calling = true
		m.sights[id] = s
		do = append(do, action{do: evict, session: id, beat: s.beat})
	}
	slices.SortFunc(do, func(a, b action) int { return cmp.Compare(a.session, b.session) })
	return do
}

// busy reports whether any work has not returned.
func (m *machine) busy() bool {
	for _, r := range m.roles {
		if r.working {
			return true
		}
	}
	return false
}

// done reports whether every role's work is done for good.
func (m *machine) done() bool {
	for _, r := range m.roles {
		if !r.done || r.working {
			return false
		}
	}
	return true
}

// next is how long the session, everybody else's silence and the named roles can wait
// for an event before they want a tick.
func (m *machine) next(now Instant, names ...string) time.Duration {
	d := m.session.next(m.rules, m.busy, now)
	for _, name := range names {
		d = min(d, m.roles[name].next(m.rules, m.session, now))
	}
	if !m.session.stopping {
		for _, s := range m.sights {
			if !s.calling {
				d = min(d, s.due(now))
			}
		}
	}
	return max(d, 0)
}

// never is longer than anybody waits.
const never = 1000 * time.Hour
