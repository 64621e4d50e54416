package coordinator

import (
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// A State is what people see of a role: in the log, in status, in metrics. The package
// comment has a table of them.
type State = machine.State

// The states.
const (
	Registering = machine.StateRegistering
	Standby     = machine.StateStandby
	Activating  = machine.StateActivating
	Active      = machine.StateActive
	Draining    = machine.StateDraining
	Paused      = machine.StatePaused
	Stopped     = machine.StateStopped
)

// never is longer than anybody waits.
const never = 1000 * time.Hour

// A journal tells a person, in the log, what each role is doing.
type journal struct {
	config Config
	states map[string]entry
	beat   Instant // of the last heartbeat
}

type entry struct {
	state State
	since Instant
	token lock.Token
}

func newJournal(c Config) journal {
	return journal{config: c, states: map[string]entry{}, beat: c.Now()}
}

// note logs one line for every transition of the roles that changed, and one for every role
// when a heartbeat is due. why is what went wrong last for a role.
func (j *journal) note(now Instant, m *machine.Machine, standings map[string]lock.Standing, why func(role string, s State) error) {
	for _, name := range m.Changed() {
		old, state := j.states[name], m.State(now, name)
		if state == old.state {
			continue
		}
		token := max(m.Role(name).Token, old.token)
		j.transition(now, name, old, state, m.Reason(now, name), token)
		j.states[name] = entry{state: state, since: now, token: token}
	}
	if j.config.Heartbeat <= 0 || now.Most(j.beat) < j.config.Heartbeat {
		return
	}
	j.beat = now
	for _, b := range j.config.Roles {
		state := m.State(now, b.Role)
		j.heartbeat(b.Role, state, standings[b.Role], why(b.Role, state))
	}
}

func (j *journal) transition(now Instant, role string, from entry, to State, reason string, token lock.Token) {
	took := time.Duration(0)
	if from.state != "" {
		took = now.Most(from.since).Round(time.Microsecond)
	}
	j.config.Logger.Info("transition", slog.String("role", role), slog.String("id", j.config.ID),
		slog.String("from", string(from.state)), slog.String("to", string(to)), slog.String("reason", reason),
		slog.Uint64("token", uint64(token)), slog.Duration("after", took))
}

func (j *journal) heartbeat(role string, s State, st lock.Standing, why error) {
	active := st.Term.Holder.ID
	switch {
	case st.Role == "":
		active = "unknown"
	case st.Term.Vacant():
		active = "nobody"
	}
	attrs := []any{"role", role, "id", j.config.ID, "active", active, "token", uint64(st.Term.Token)}
	if why != nil {
		attrs = append(attrs, "error", why)
	}
	j.config.Logger.Info(string(s), attrs...)
}

// next is how long it is until a heartbeat is due.
func (j *journal) next(now Instant) time.Duration {
	if j.config.Heartbeat <= 0 {
		return never
	}
	return max(0, j.config.Heartbeat-now.Most(j.beat))
}

// whyNot is what went wrong last, where it matters to a role in its state; else nil.
func (r *runner) whyNot(role string, s State) error {
	switch {
	case s == Registering:
		return r.why
	case s == Paused && r.machine.Role(role).Refused:
		return r.refusals[role]
	}
	return nil
}
