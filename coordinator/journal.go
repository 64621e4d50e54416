package coordinator

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A Phase is what a person sees of a role.
type Phase string

// The phases.
const (
	Registering Phase = "registering" // not in line yet, or not any more
	Standby     Phase = "standby"     // in line
	Activating  Phase = "activating"  // taking the role
	Active      Phase = "active"      // working
	Draining    Phase = "draining"    // waiting for the work to return, or giving the role back
	Paused      Phase = "paused"      // in line, but does not compete
	Stopped     Phase = "stopped"
)

// phase is what a person sees of r.
func (r role) phase(c rules, s session, now Instant) Phase {
	switch {
	case r.working && !r.told:
		return Active
	case r.working || r.token != 0 && r.spent:
		return Draining
	case s.phase == ended || r.done || s.stopping:
		return Stopped
	case s.phase != live:
		return Registering
	case r.token != 0 || r.calling == acquire:
		return Activating
	case r.rolledBack() || s.sick || r.isRefused() || r.holdDown(c, now) > 0:
		return Paused
	}
	return Standby
}

// why is why r is in its phase.
func (r role) why(p Phase, s session) string {
	switch {
	case p == Draining && r.cause != nil:
		return r.cause.Error()
	case p == Draining:
		return "the work returned"
	case p == Active:
		return "granted"
	case p == Activating:
		return "the role is vacant or was given to us"
	case p == Paused && r.rolledBack():
		return fmt.Sprintf("%v: raise its tokens above %d", lock.ErrRolledBack, r.seen)
	case p == Paused && s.sick:
		return "not known to be healthy"
	case p == Paused && r.isRefused():
		return "the store refuses what is asked about it"
	case p == Paused:
		return "held down after a failure"
	case p == Registering && s.phase == joining && s.number == 1:
		return "starting"
	case p == Registering:
		return ErrSessionLost.Error()
	case p == Stopped && r.done:
		return "the work is done"
	case p == Stopped:
		return ErrStopping.Error()
	}
	return "in line"
}

// A journal tells a person, in the log, what each role is doing.
type journal struct {
	config Config
	phases map[string]entry
	beat   Instant // of the last heartbeat
}

type entry struct {
	phase Phase
	since Instant
	token lock.Token
}

func newJournal(c Config) journal {
	return journal{config: c, phases: map[string]entry{}, beat: c.Now()}
}

// note logs one line for every transition of the roles that were looked at, and a line
// for every role when a heartbeat is due. why is what went wrong last for a role.
func (j *journal) note(now Instant, m *machine, roles []string, standings map[string]lock.Standing, why func(role string, p Phase) error) {
	for _, name := range roles {
		r, old := m.roles[name], j.phases[name]
		p := r.phase(m.rules, m.session, now)
		if p == old.phase {
			continue
		}
		token := max(r.token, old.token)
		j.transition(now, name, old, p, r.why(p, m.session), token)
		j.phases[name] = entry{phase: p, since: now, token: token}
	}
	if j.config.Heartbeat <= 0 || now.most(j.beat) < j.config.Heartbeat {
		return
	}
	j.beat = now
	for _, b := range j.config.Roles {
		p := m.roles[b.Role].phase(m.rules, m.session, now)
		j.heartbeat(b.Role, p, standings[b.Role], why(b.Role, p))
	}
}

func (j *journal) transition(now Instant, role string, from entry, to Phase, reason string, token lock.Token) {
	took := time.Duration(0)
	if from.phase != "" {
		took = now.most(from.since).Round(time.Microsecond)
	}
	j.config.Logger.Info("transition", slog.String("role", role), slog.String("id", j.config.ID),
		slog.String("from", string(from.phase)), slog.String("to", string(to)), slog.String("reason", reason),
		slog.Uint64("token", uint64(token)), slog.Duration("after", took))
}

func (j *journal) heartbeat(role string, p Phase, st lock.Standing, why error) {
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
	j.config.Logger.Info(string(p), attrs...)
}

// next is how long it is until a heartbeat is due.
func (j *journal) next(now Instant) time.Duration {
	if j.config.Heartbeat <= 0 {
		return never
	}
	return max(0, j.config.Heartbeat-now.most(j.beat))
}

// whyNot is what went wrong last, where it matters to a role in its phase; else nil.
func (r *runner) whyNot(role string, p Phase) error {
	switch {
	case p == Registering:
		return r.why
	case p == Paused && r.machine.roles[role].isRefused():
		return r.refusals[role]
	}
	return nil
}
