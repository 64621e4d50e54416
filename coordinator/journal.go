package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// A State is a role's state as people see it: in the log, in status, in metrics. The package
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
	blind  int     // heartbeats since the store went away, logged or not
	shared bool    // roles share lines: the store is away
	loops  map[string]loop
}

// A loop is a role whose work ended by itself.
type loop struct {
	last  Instant // of these ends
	said  Instant // when this was last logged
	times int     // how often it has ended since
	quiet bool    // it ends again and again: its terms are logged at Debug
}

type entry struct {
	state State
	since Instant
	token lock.Token
	tried lock.Token // the role's greatest token when it was last asked for in vain; 0: it was not
}

func newJournal(c Config) journal {
	return journal{config: c, states: map[string]entry{}, loops: map[string]loop{}, beat: c.Now()}
}

// While the store is away, or refuses the beats, from the second heartbeat on, heartbeats are rarer by this factor: an
// outage must not fill the log.
const rarer = 3

// tell logs one line for every transition of the roles that changed, and one for every role when
// a heartbeat is due. While the store is away, roles with equal lines share one.
func (r *runner) tell(now Instant) {
	m, j := r.machine, &r.journal
	j.shared = r.blind() != nil || r.denied("", false) != nil
	var changed []string
	names := m.Changed()
	if m.Over() {
		names = j.config.names()
	}
	for _, name := range names {
		switch state := r.state(now, name); {
		case state != j.states[name].state:
			changed = append(changed, name)
			r.report(now, name)
		case state == Paused && r.board != nil:
			cause, why := r.whyPaused(now, name)
			r.board.pauses(name, cause, why)
		}
	}
	for _, roles := range j.lines(changed, func(name string) string {
		return fmt.Sprint(j.states[name].state, r.state(now, name), m.Reason(now, name))
	}) {
		r.transition(now, roles...)
	}
	if j.config.Heartbeat <= 0 || now.Most(j.beat) < j.config.Heartbeat {
		return
	}
	j.beat, j.blind = now, j.blind+1
	if !j.shared {
		j.blind = 0
	} else if j.blind%rarer != 1 {
		return
	}
	for _, roles := range j.lines(j.config.names(), func(name string) string { return string(m.State(now, name)) + r.rest(name) }) {
		r.heartbeat(m.State(now, roles[0]), roles...)
	}
}

// ended logs that a role's work ended by itself. If it does so again within a minute, that is
// logged twice a minute, with a count, and its terms are not logged any more.
func (j *journal) ended(now Instant, role string, err error) {
	if errors.Is(err, ErrDeadline) { // it was ended in our place
		j.config.Logger.Warn("the work was ended at the end of its promise, while this process did not run", "role", role, "id", j.config.ID)
		return
	}
	l, found := j.loops[role]
	again := found && now.Most(l.last) < sayAgain
	told := !again || !l.quiet || now.Most(l.said) >= sayAgain/2
	l.last, l.quiet, l.times = now, again, l.times+1
	if told {
		attrs := []any{"role", role, "id", j.config.ID, "error", err}
		if l.times > 1 {
			attrs = append(attrs, "times", l.times)
		}
		j.config.Logger.Warn("the work ended by itself; it is called again after a pause", attrs...)
		l.said, l.times = now, 0
	}
	j.loops[role] = l
}

// loud is the level at which a transition is logged: Debug while the role's work ends again and
// again, until something else ends its term; while a store that is away is asked for a role; and while a role that
// does not move is asked for in vain again and again.
func (j *journal) loud(level slog.Level, role string, before entry, to State, cause error, greatest lock.Token) slog.Level {
	if (j.shared || before.tried == greatest) && (waits(before.state) && to == Activating || before.state == Activating && waits(to)) {
		return slog.LevelDebug
	}
	l := j.loops[role]
	if l.quiet && (to == Registering || to == Stopped || to == Draining && cause != nil) {
		l.quiet = false
		j.loops[role] = l
	}
	if l.quiet {
		return slog.LevelDebug
	}
	return level
}

// greatest is the greatest token of a role that is known here, at least 1.
func (r *runner) greatest(role string) lock.Token {
	return max(r.machine.Role(role).Token, r.journal.states[role].token, r.standings[role].Term.Token, 1)
}

func waits(s State) bool { return s == Standby || s == Paused }

// state is the state of a role that people see. When all is over every role has stopped, also one
// that could not be given back.
func (r *runner) state(now Instant, role string) State {
	if r.machine.Over() {
		return Stopped
	}
	return r.machine.State(now, role)
}

// lines groups roles by log line: one role a line, or, when lines are shared, all roles with the
// same key.
func (j *journal) lines(roles []string, key func(role string) string) (all [][]string) {
	at := map[string]int{}
	for _, name := range roles {
		i, found := at[key(name)]
		if !found || !j.shared {
			i = len(all)
			at[key(name)] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], name)
	}
	return all
}

// transition logs that a role, or several alike, changed from one state to another. Losing a role,
// giving it up for good, or waiting for an operator, is a warning.
func (r *runner) transition(now Instant, roles ...string) {
	role := roles[0]
	from, to := r.journal.states[role], r.state(now, role)
	level, took := slog.LevelInfo, time.Duration(0)
	if from.state != "" {
		took = now.Most(from.since).Round(time.Microsecond)
	}
	for _, name := range roles {
		before := r.journal.states[name]
		after := entry{to, now, max(r.machine.Role(name).Token, before.token), before.tried}
		if before.state == Activating && waits(to) {
			after.tried = r.greatest(name)
		}
		r.journal.states[name] = after
	}
	var reason any = r.machine.Reason(now, role) // an error: a logger may know how to show it
	cause := r.machine.Role(role).Cause
	asked := to == Stopped && !r.machine.Role(role).Done || errors.Is(cause, ErrStopping)
	why := r.whyNot(now, role, to)
	if from.state == Registering && to == Standby || to == Active { // the store has just answered: what went wrong before is over
		why = nil
	}
	switch {
	case asked:
		reason = r.whyStop()
		if r.err != nil {
			level = slog.LevelWarn
		}
	case to == Draining && cause == nil && errors.Is(r.failures[role], ErrDeadline):
		level, reason = slog.LevelWarn, ErrDeadline
	case cause != nil && !Asked(cause), to == Paused && errors.Is(why, lock.ErrRolledBack):
		level = slog.LevelWarn
	}
	if to == Registering && from.state != "" && (why == nil || outcomeOf(why) == lock.Unknown) {
		reason = gaveUp
	}
	attrs := []any{named(roles), "id", r.config.ID, "from", string(from.state), "to", string(to), "reason", reason, counted(roles, r.journal.states[role].token), "after", took}
	if why != nil && why.Error() != fmt.Sprint(reason) {
		attrs = append(attrs, "error", why)
	}
	r.config.Logger.Log(context.Background(), r.journal.loud(level, role, from, to, cause, r.greatest(role)), "transition", attrs...)
}

// gaveUp is why a role is registered for anew where the store has not said that the session is lost: it has said nothing,
// or refused every beat, or this process did not run.
const gaveUp = "no beat was acknowledged for so long that the session counts as lost"

// most is how many roles a line names.
const most = 8

// named are the roles of a line, only the first few if there are many.
func named(roles []string) slog.Attr {
	return slog.String("role", strings.Join(roles[:min(len(roles), most)], ","))
}

// counted is the token of a line's role, or the number of its roles.
func counted(roles []string, token lock.Token) slog.Attr {
	if len(roles) == 1 {
		return slog.Uint64("token", uint64(token))
	}
	return slog.Int("roles", len(roles))
}

// heartbeat logs the state of one role, or of several in the same state. The active is unknown if
// the store does not answer.
func (r *runner) heartbeat(s State, roles ...string) {
	role := roles[0]
	st, why := r.standings[role], r.whyNot(r.config.Now(), role, s)
	active, token := st.Term.Holder.ID, st.Term.Token
	switch {
	case s == Active:
		active, token = r.config.ID, r.machine.Role(role).Token
	case st.Role == "" || r.blind() != nil:
		active = "unknown"
	case st.Term.Vacant() || active == r.config.ID && r.terms[role] == nil:
		active = "nobody"
	}
	attrs := []any{named(roles), "id", r.config.ID, "active", active, counted(roles, token)}
	switch s {
	case Draining:
		attrs = append(attrs, "work", r.rest(role))
	case Paused: // which may be for another reason than at first
		attrs = append(attrs, "reason", r.machine.Reason(r.config.Now(), role))
	}
	if why != nil {
		attrs = append(attrs, "error", why)
	}
	r.config.Logger.Info(string(s), attrs...)
}

// rest says of a role that is draining whether its work still runs: an outage of the store can last for long after that,
// until the role is given back.
func (r *runner) rest(role string) string {
	switch r.machine.Role(role).Phase {
	case machine.Stopping:
		return "stopping"
	case machine.Ceding:
		return "ended"
	}
	return ""
}

// warnLate warns about work that has used half of its time to return and has not: once the
// process exits for it, nothing can be logged any more. It returns when it has to look again.
func (r *runner) warnLate(now Instant) time.Duration {
	next, least := never, never
	var late []string
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
		late, least = append(late, role), min(least, left)
	}
	slices.Sort(late)
	for _, roles := range r.journal.lines(late, func(string) string { return "" }) {
		r.config.Logger.Warn("the work was told to stop and has not returned: this process exits when its time is over",
			named(roles), "id", r.config.ID, counted(roles, r.journal.states[roles[0]].token), "left", least.Round(time.Millisecond), "code", ExitCode)
	}
	return next
}

// next is the time until a heartbeat is due.
func (j *journal) next(now Instant) time.Duration {
	if j.config.Heartbeat <= 0 {
		return never
	}
	return max(0, j.config.Heartbeat-now.Most(j.beat))
}

// whyNot is what goes wrong, if it matters to a role in its state; else nil.
func (r *runner) whyNot(now Instant, role string, s State) error {
	if s == Paused {
		if cause, why := r.whyPaused(now, role); cause == CauseRolledBack || cause == CauseRefused {
			return why
		}
	}
	switch err := r.denied(role, s == Draining); {
	case (s == Registering || s == Stopped) && r.why != nil:
		return r.why
	case err != nil:
		return err
	}
	return r.blind()
}

// whyStop is why everything stops here: the error that Run returns, or the cause with which its
// context ended, or that somebody asked for it.
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

// A stopError says why everything stops when nobody asked for it. It is an ErrStopping.
type stopError struct{ error }

func (e stopError) Unwrap() []error { return []error{ErrStopping, e.error} }
