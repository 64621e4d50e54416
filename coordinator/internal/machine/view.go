package machine

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A State is the word that people see for a role. Package coordinator's comment says what
// each means.
type State string

// The states.
const (
	StateRegistering State = "registering"
	StateStandby     State = "standby"
	StateActivating  State = "activating"
	StateActive      State = "active"
	StateDraining    State = "draining"
	StatePaused      State = "paused"
	StateStopped     State = "stopped"
)

// A RoleView is what others may know about a role.
type RoleView struct {
	Phase   Phase
	Token   lock.Token // of our term; zero: there is none
	Cause   error      // why the work of our term must stop, or had to; nil: it need not, or it returned by itself
	Done    bool       // the work is done for good
	Refused bool       // the store refuses the role for good
	Paused  bool       // by an operator
	Drained bool       // by an operator: this contender may not have it
	HeldTo  Instant    // held down until then, as its work failed
}

// A SessionView is what others may know about the session.
type SessionView struct {
	Number    int
	Deadline  Instant       // until when its work may run; zero: there is none
	LostAt    Instant       // when its loss was learned; zero: it was not
	Stopping  bool          // nothing new begins
	Unfit     bool          // the health check or the disk failed, or has not answered yet
	RoundTrip time.Duration // the longest to expect, from recent ones; zero: unknown
	Tries     int           // attempts at a beat since one was acknowledged
}

// Session returns the view of the session.
func (m *Machine) Session() SessionView {
	s := m.session
	return SessionView{
		Number: s.number, Deadline: s.deadline(m.Rules), LostAt: s.lostAt,
		Stopping: s.stopping, Unfit: s.unfit(), RoundTrip: s.slow, Tries: s.tries,
	}
}

// Role returns the view of a role.
func (m *Machine) Role(name string) RoleView {
	r := m.roles[name]
	return RoleView{
		Phase: r.phase, Token: r.term.token, Cause: r.why(m.session), Done: r.done, Refused: r.isRefused(),
		Paused: r.store.paused != "", Drained: r.store.drained != "",
		HeldTo: r.holdTo,
	}
}

// ExitIn is how long the work of a role that was told to stop still has to return; false: it was
// not told.
func (m *Machine) ExitIn(now Instant, name string) (left time.Duration, told bool) {
	r := m.roles[name]
	if r.phase != Stopping {
		return 0, false
	}
	return r.exitIn(m.Rules, m.session, now), true
}

// Changed names the roles that the last Step may have changed.
func (m *Machine) Changed() []string { return m.changed }

// State is a role's state as people see it.
func (m *Machine) State(now Instant, name string) State {
	return m.roles[name].state(m.Rules, m.session, now)
}

func (r role) state(c Rules, s session, now Instant) State {
	switch {
	case r.phase == Working:
		return StateActive
	case r.phase == Stopping || r.phase == Ceding:
		return StateDraining
	case s.phase == ended || r.done || s.stopping:
		return StateStopped
	case s.phase != live:
		return StateRegistering
	case r.phase == Granted || r.phase == Acquiring:
		return StateActivating
	case r.store.rolledBack() || s.unfit() || r.store.drained != "" || r.store.paused != "" || r.isRefused() || r.holdDown(c, now) > 0:
		return StatePaused
	}
	return StateStandby
}

// Reason is why a role is in that state.
func (m *Machine) Reason(now Instant, name string) string {
	r, s := m.roles[name], m.session
	switch r.state(m.Rules, s, now) {
	case StateDraining:
		if cause := r.why(s); cause != nil {
			return cause.Error()
		}
		if r.term.began.IsZero() {
			return "given back before its work began"
		}
		return "the work returned"
	case StateActive:
		return "granted"
	case StateActivating:
		return "the role is vacant or was given to us"
	case StatePaused:
		return r.whyPaused(s)
	case StateRegistering:
		if s.phase == joining && s.number == 1 {
			return "starting"
		}
		return ErrSessionLost.Error()
	case StateStopped:
		if r.done {
			return "the work is done"
		}
		return ErrStopping.Error()
	}
	return "in line"
}

// why is why the work of our term must stop, or had to.
func (r role) why(s session) error {
	if r.term.cause == nil && r.phase == Ceding && s.phase != live && !r.term.began.IsZero() && !r.done {
		return ErrDeadline // the guard beside the work was faster
	}
	return r.term.cause
}

func (r role) whyPaused(s session) string {
	switch {
	case r.store.rolledBack():
		return fmt.Sprintf("%v: raise its tokens above %d", lock.ErrRolledBack, r.store.seen)
	case s.unfit():
		return "not known to be healthy"
	case r.store.drained != "":
		return r.store.drained
	case r.store.paused != "":
		return r.store.paused
	case r.isRefused():
		return "the store refuses what is asked about it"
	}
	return "a pause, because its last term here ended early"
}
