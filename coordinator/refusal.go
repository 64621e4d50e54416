package coordinator

import "slices"

// giveUp stops everything, once, if there is nothing to contend for: no try can succeed,
// another has a role for which nobody stands by here, or the store has refused every role
// for a whole promise. The others go on with the roles that are left.
func (m *machine) giveUp(now Instant, names ...string) []action {
	if m.session.stopping {
		return nil
	}
	why := action{do: fail}
	for _, name := range names {
		r := m.roles[name]
		taken := slices.Contains(m.exclusive, name) && r.token == 0 && !r.vacant && m.sights[r.holder].moved
		if taken || r.refusedIn(m.rules, now) <= 0 && m.allRefused(now) {
			m.failed, why.role = true, name
			break
		}
	}
	if !m.failed {
		return nil
	}
	m.session = m.session.stop(m.rules, now)
	return []action{why}
}

// allRefused reports whether no role is left that the store does not refuse.
func (m *machine) allRefused(now Instant) bool {
	for _, r := range m.roles {
		if !r.done && r.refusedIn(m.rules, now) > 0 {
			return false
		}
	}
	return true
}

// unseen takes in that how a role stands, or any, cannot be seen: for good, if refused.
// Where that is about one role, what stands in its place is no record of ours any more: who
// works there stops at once, for an operator may delete it, and then the role looks as if
// nobody had ever held it.
func (m *machine) unseen(now Instant, e event) {
	for name, r := range m.roles {
		if e.outcome != permanent || e.role != "" && e.role != name {
			continue
		}
		if r.hidden == (Instant{}) {
			r.hidden = now
		}
		r.vanished = r.vanished || e.role != "" && (r.held != 0 || r.token != 0)
		m.roles[name] = r
	}
}

// evictionRefused takes in whether the end of a session is refused for good: then so are
// the roles that it holds.
func (m *machine) evictionRefused(now Instant, e event) {
	if e.outcome != permanent {
		return
	}
	for name, r := range m.roles {
		if r.holder == e.session && !r.vacant {
			m.roles[name] = r.refuse(now)
		}
	}
}
