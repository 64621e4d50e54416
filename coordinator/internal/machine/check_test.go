package machine

import (
	"errors"
	"fmt"
	"maps"

	"github.com/understudy-ha/understudy/lock"
)

// check says what is wrong with the machine's state: it states what holds between any two
// Steps. The model checker calls it after each, so that it finds a broken state even when no
// broken outcome follows from it.
func (m *Machine) check() error {
	var errs []error
	hold := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	s := m.session
	hold(s.number >= 1, "session: number %d", s.number)
	hold(0 <= s.open && s.open <= OpenBeats, "session: %d beats are open", s.open)
	hold(s.open <= s.tries || s.tries == 0 || s.phase != live || !s.sent.IsZero(), "session: %d beats are open after %d attempts", s.open, s.tries)
	switch s.phase {
	case joining:
		hold(s.sent.IsZero(), "joining: a beat was acknowledged")
		hold(s.lostAt.IsZero(), "joining: a loss is noted")
	case live:
		hold(!s.calling, "live: a call about the registration is in flight")
		hold(!s.heard.IsZero(), "live: nothing was acknowledged")
		hold(s.lostAt.IsZero(), "live: a loss is noted")
	case forlorn:
		hold(!s.lostAt.IsZero(), "lost: at no time")
	case closing, ended:
		hold(!m.busy(), "closing: work runs")
		hold(s.phase == closing || s.stopping, "ended: nobody asked for a stop")
	}
	for name, r := range m.roles {
		hold(name == r.name, "role %q: is filed under %q", r.name, name)
		if err := r.check(s); err != nil {
			errs = append(errs, fmt.Errorf("role %q: %w", name, err))
		}
	}
	engaged, holds := 0, map[lock.SessionID]int{}
	for _, r := range m.roles {
		if r.engaged() {
			engaged++
		}
		if id := r.store.heldBy(); id != "" {
			holds[id]++
		}
	}
	hold(m.engaged == engaged && m.session.engaged.IsZero() == (engaged == 0), "session: %d roles are engaged since %v, not %d", engaged, m.session.engaged, m.engaged)
	hold(maps.Equal(m.holds, holds), "sights: sessions hold %v, not %v", holds, m.holds)
	// One that is closing may be an earlier registration, and had our contender ID.
	_, mine := m.sights[m.ID(s.number)]
	hold(!mine || s.phase == closing || s.phase == ended, "sights: our own session is one of them")
	_, nobody := m.sights[""]
	hold(!nobody, "sights: one is of nobody")
	return errors.Join(errs...)
}

// check says what is wrong with a role beside a session.
func (r role) check(s session) error {
	t := r.term
	switch r.phase {
	case Standby, Acquiring, Retired:
		if t != (term{}) {
			return fmt.Errorf("phase %d: has a term: %+v", r.phase, t)
		}
		if r.calling != (r.phase == Acquiring) {
			return fmt.Errorf("phase %d: call in flight: %v", r.phase, r.calling)
		}
		if r.done != (r.phase == Retired) && r.phase != Acquiring {
			return fmt.Errorf("phase %d: done: %v", r.phase, r.done)
		}
		return nil
	}
	switch {
	case t.token == 0:
		return fmt.Errorf("phase %d: has no token", r.phase)
	case r.phase != Ceding && t.token <= r.gave:
		return fmt.Errorf("phase %d: token %d was given up before: %d", r.phase, t.token, r.gave)
	case r.phase != Ceding && r.calling:
		return fmt.Errorf("phase %d: a call is in flight", r.phase)
	case r.working() && (t.began.IsZero() || s.sent.IsZero()):
		return fmt.Errorf("phase %d: work runs without a deadline", r.phase)
	case r.phase == Stopping && (t.cause == nil || t.toldAt.IsZero()):
		return errors.New("stopping: for no cause")
	case (r.phase == Granted || r.phase == Working) && t.cause != nil:
		return fmt.Errorf("phase %d: has a cause to stop: %w", r.phase, t.cause)
	case r.done && r.phase != Ceding && r.phase != Granted:
		return fmt.Errorf("phase %d: the work is done for good", r.phase)
	}
	return nil
}
