package machine

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// giveUp stops everything, once, if there is nothing to compete for: no attempt can succeed,
// another contender has a role that this process does not stand by for, or the store has refused
// every role for a whole promise. Otherwise the machine goes on with the roles that are left.
func (m *Machine) giveUp(now Instant, names []string) []Action {
	if m.session.stopping {
		return nil
	}
	fail, failed := Fail{}, m.failed
	for _, name := range names {
		r := m.roles[name]
		switch {
		case failed:
		case slices.Contains(m.Exclusive, name) && r.term.token == 0 && !r.store.vacant && m.sights[r.store.holder].moved:
			fail, failed = Fail{RoleTaken, name}, true
		case r.refusedIn(m.Rules, now) <= 0 && m.allRefused(now):
			fail, failed = Fail{AllRefused, name}, true
		}
	}
	if !failed {
		return nil
	}
	m.failed = true
	m.session = m.session.stop(m.Rules, now)
	return []Action{fail}
}

// answered records whether the store refuses the session for good. No answer says nothing about that.
func (s session) answered(now Instant, o lock.Outcome) session {
	switch {
	case o == lock.Refused && s.refused.IsZero():
		s.refused = now
	case o != lock.Refused && o != lock.Unknown:
		s.refused = Instant{}
	}
	return s
}

// isRefused reports whether the answer to a Register or a Close means that no other will succeed: a refusal
// that has lasted for a whole promise, the time that an operator has to cure it. What is refused from the first
// was never right.
func (s session) isRefused(r Rules, now Instant, o lock.Outcome) bool {
	return o == lock.Refused && !s.refused.IsZero() && (!s.joined || now.Most(s.refused) >= r.TTL)
}

// allRefused reports whether the store refuses every role that is left.
func (m *Machine) allRefused(now Instant) bool {
	for _, r := range m.roles {
		if !r.done && r.refusedIn(m.Rules, now) > 0 {
			return false
		}
	}
	return true
}

// unseen records that the store does not show a role's state, or any role's: for good, if it
// refuses to. If that is about one role, its record is no longer one of ours. Work on that role
// stops at once: an operator may delete the record, and then the role looks as if it had never
// been held.
func (m *Machine) unseen(now Instant, e Unseen) {
	if e.Outcome != lock.Refused {
		return
	}
	for name, r := range m.roles {
		if e.Role != "" && e.Role != name {
			continue
		}
		if r.hidden.IsZero() {
			r.hidden = now
		}
		if e.Role != "" && (r.store.held != 0 || r.term.token != 0) {
			r.store.vanished = true
		}
		m.put(r)
	}
}

// evictionRefused records that the store refuses for good to end a session: then it refuses the
// roles that the session holds.
func (m *Machine) evictionRefused(now Instant, e Evicted) {
	if e.Outcome != lock.Refused {
		return
	}
	for _, r := range m.roles {
		if r.store.holder == e.Session && !r.store.vacant {
			m.put(r.refuse(now))
		}
	}
}

// refuse records that the store refuses the role for good.
func (r role) refuse(now Instant) role {
	if r.refused.IsZero() {
		r.refused = now
	}
	return r
}

// refusedIn is how long it is until the role has been refused for a whole promise, the time that
// an operator has to cure it. Work that runs needs nothing that is refused.
func (r role) refusedIn(c Rules, now Instant) time.Duration {
	if r.working() || r.done {
		return never
	}
	in := never
	for _, since := range []Instant{r.refused, r.hidden} {
		if !since.IsZero() {
			in = min(in, c.TTL-now.Most(since))
		}
	}
	return in
}

// refusedNext is refusedIn while that is in the future; later it has been acted on.
func (r role) refusedNext(c Rules, now Instant) time.Duration {
	if in := r.refusedIn(c, now); in > 0 {
		return in
	}
	return never
}

// isRefused reports whether the store refuses anything about the role for good.
func (r role) isRefused() bool { return !r.refused.IsZero() || !r.hidden.IsZero() }
