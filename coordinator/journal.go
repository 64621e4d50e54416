package coordinator

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
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

// tell logs one line for every transition of the roles that changed, and one for every role
// when a heartbeat is due. While the store is away that is one for all roles in one state: they
// would all say the same, and an outage must not fill the log.
func (r *runner) tell(now Instant) {
	m, j := r.machine, &r.journal
	for _, name := range m.Changed() {
		old, state := j.states[name], m.State(now, name)
		if state == old.state {
			continue
		}
		one := entry{state: state, since: now, token: max(m.Role(name).Token, old.token)}
		r.transition(now, name, old, one)
		j.states[name] = one
	}
	if j.config.Heartbeat <= 0 || now.Most(j.beat) < j.config.Heartbeat {
		return
	}
	j.beat = now
	blind, alike := r.blind() != nil, map[State][]string{}
	for _, b := range j.config.Roles {
		state := m.State(now, b.Role)
		alike[state] = append(alike[state], b.Role)
		if !blind {
			r.heartbeat(state, b.Role)
		}
	}
	for _, state := range slices.Sorted(maps.Keys(alike)) {
		if blind {
			r.heartbeat(state, alike[state]...)
		}
	}
}

// transition tells of one. A role that is lost, and one that is given up for good, is a
// warning.
func (r *runner) transition(now Instant, role string, from, to entry) {
	level, took := slog.LevelInfo, time.Duration(0)
	if from.state != "" {
		took = now.Most(from.since).Round(time.Microsecond)
	}
	reason, cause := r.machine.Reason(now, role), r.machine.Role(role).Cause
	asked := to.state == Stopped && !r.machine.Role(role).Done || to.state == Draining && errors.Is(cause, ErrStopping)
	switch {
	case asked:
		reason = r.whyStop().Error()
		if r.err != nil {
			level = slog.LevelWarn
		}
	case to.state == Draining && cause != nil && !Asked(cause):
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("role", role), slog.String("id", r.config.ID), slog.String("from", string(from.state)), slog.String("to", string(to.state)),
		slog.String("reason", reason), slog.Uint64("token", uint64(to.token)), slog.Duration("after", took),
	}
	if why := r.whyNot(role, to.state); why != nil && why.Error() != reason {
		attrs = append(attrs, slog.Any("error", why))
	}
	r.config.Logger.LogAttrs(context.Background(), level, "transition", attrs...)
}

// most is how many roles a line names.
const most = 8

// heartbeat tells how roles stand, one or several that are in one state. Who is active is
// unknown where the store does not say.
func (r *runner) heartbeat(s State, roles ...string) {
	role := roles[0]
	st, why := r.standings[role], r.whyNot(role, s)
	active, token := st.Term.Holder.ID, st.Term.Token
	switch {
	case s == Active:
		active, token = r.config.ID, r.machine.Role(role).Token
	case st.Role == "" || r.blind() != nil:
		active = "unknown"
	case st.Term.Vacant() || active == r.config.ID && r.terms[role] == nil:
		active = "nobody"
	}
	attrs := []any{"role", strings.Join(roles[:min(len(roles), most)], ","), "id", r.config.ID, "active", active}
	if len(roles) == 1 {
		attrs = append(attrs, "token", uint64(token))
	} else {
		attrs = append(attrs, "roles", len(roles))
	}
	if why != nil {
		attrs = append(attrs, "error", why)
	}
	r.config.Logger.Info(string(s), attrs...)
}

// warnLate warns of work that has not returned when half of the time is over that it has for
// that, as nobody can be told any more when the process exits for it. It returns how long
// it is until it has to look again.
func (r *runner) warnLate(now Instant) time.Duration {
	next := never
	for role, t := range r.told {
		left, told := r.machine.ExitIn(now, role)
		if !told || t.late || r.config.NoExit {
			continue
		}
		if t.given == 0 {
			t.given = left
		}
		if over := left - t.given/2; over > 0 {
			next = min(next, over)
			continue
		}
		t.late = true
		r.config.Logger.Warn("the work was told to stop and has not returned: when its time is over, this process exits",
			"role", role, "id", r.config.ID, "left", left.Round(time.Millisecond), "code", ExitCode)
	}
	return next
}

// next is how long it is until a heartbeat is due.
func (j *journal) next(now Instant) time.Duration {
	if j.config.Heartbeat <= 0 {
		return never
	}
	return max(0, j.config.Heartbeat-now.Most(j.beat))
}

// whyNot is what goes wrong, where it matters to a role in its state; else nil.
func (r *runner) whyNot(role string, s State) error {
	switch {
	case s == Paused && r.machine.Role(role).Refused:
		return r.refusals[role]
	case (s == Registering || s == Stopped) && r.why != nil:
		return r.why
	}
	return r.blind()
}

// whyStop is why everything stops here: what Run returns, or the cause with which its context
// ended, or that somebody asked for it.
func (r *runner) whyStop() error {
	switch cause := context.Cause(r.stop); {
	case r.err != nil:
		return r.err
	case cause == nil || errors.Is(cause, ErrStopping):
		return cmp.Or(cause, ErrStopping)
	case errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded):
		return ErrStopping
	default:
		return stopError{cause}
	}
}

// A stopError says why everything stops where nobody asked for it. It is ErrStopping.
type stopError struct{ error }

func (e stopError) Unwrap() []error { return []error{ErrStopping, e.error} }
