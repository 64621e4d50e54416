package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/chronicle"
	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

// A Transition says that a role went from one state to another in this process.
type Transition struct {
	Role     string
	From, To State      // From is empty for the first one of a role
	Token    lock.Token // of this process's latest term in the role; zero: it has had none
	Cause    Cause
	Reason   error         // details that Cause does not tell; may be nil
	At       time.Time     // by the wall clock
	After    time.Duration // how long the role was in From
	Missed   int           // how many transitions just before this one were dropped; see Config.OnTransition
}

// A Cause is why a role changed its state: one word of a fixed set, fit for a metric's label.
type Cause string

// The causes, by the state that they lead to.
const (
	CauseStarted Cause = "started" // registering: Run began

	CauseJoined   Cause = "joined"   // standby: the session is registered, and the role is in line
	CauseReleased Cause = "released" // standby: the last term here is over
	CauseOutrun   Cause = "outrun"   // standby: the attempt was not granted
	CauseResumed  Cause = "resumed"  // standby: the reason for the pause is gone

	CauseVacant Cause = "vacant" // activating: nobody is active
	CauseGiven  Cause = "given"  // activating: the store says that the role is this process's, as after a handoff

	CauseGranted Cause = "granted" // active

	CauseReturned   Cause = "returned"   // draining: the work is done for good
	CauseFailed     Cause = "failed"     // draining: the work failed
	CauseUnused     Cause = "unused"     // draining: given back before the work began
	CauseHandoff    Cause = "handoff"    // draining: it was asked for
	CauseDeadline   Cause = "deadline"   // draining: no beat was acknowledged in time
	CauseSuperseded Cause = "superseded" // draining: the store names another term
	CauseStalled    Cause = "stalled"    // draining: the work made no progress

	CauseSessionLost Cause = "session_lost" // draining or registering: the session was lost
	CauseUnhealthy   Cause = "unhealthy"    // draining or paused: the health check fails, or has not answered

	CauseDrained Cause = "drained" // draining or paused: an operator drained this contender
	CausePaused  Cause = "paused"  // draining or paused: an operator paused the role (draining: and stopped its work)

	CauseHeldDown   Cause = "held_down"   // paused: after a failure
	CauseRolledBack Cause = "rolled_back" // paused: the store was rolled back
	CauseRefused    Cause = "refused"     // paused: the store refuses what is asked about the role

	CauseStopping Cause = "stopping" // draining or stopped: Run is to end
	CauseDone     Cause = "done"     // stopped: the work is done for good
)

// Causes returns every Cause.
func Causes() []Cause { return slices.Clone(causes[:]) }

var causes = [...]Cause{
	CauseStarted, CauseJoined, CauseReleased, CauseOutrun, CauseResumed, CauseVacant, CauseGiven, CauseGranted,
	CauseReturned, CauseFailed, CauseUnused, CauseHandoff, CauseDeadline, CauseSuperseded, CauseStalled, CauseSessionLost,
	CauseUnhealthy, CauseDrained, CausePaused, CauseHeldDown, CauseRolledBack, CauseRefused, CauseStopping, CauseDone,
}

// States returns every State, in the order in which a role comes into them.
func States() []State {
	return []State{Registering, Standby, Activating, Active, Draining, Paused, Stopped}
}

// CauseOf is the Cause of the transition to Draining for the context.Cause of a term's context.
// nil: the work returned by itself.
func CauseOf(err error) Cause {
	for _, known := range []struct {
		why   error
		cause Cause
	}{
		{ErrHandoff, CauseHandoff},
		{ErrDeadline, CauseDeadline},
		{ErrSessionLost, CauseSessionLost},
		{ErrSuperseded, CauseSuperseded},
		{ErrUnhealthy, CauseUnhealthy},
		{ErrDrained, CauseDrained},
		{ErrPaused, CausePaused},
		{ErrStalled, CauseStalled},
	} {
		if errors.Is(err, known.why) {
			return known.cause
		}
	}
	if err == nil {
		return CauseReturned
	}
	return CauseStopping
}

// report tells everybody who asked for it about a role's new state, before the journal records
// it.
func (r *runner) report(now Instant, role string) {
	if r.board == nil && r.moves == nil && r.annals == nil {
		return
	}
	old, to := r.journal.states[role], r.state(now, role)
	t := Transition{Role: role, From: old.state, To: to, Token: max(r.machine.Role(role).Token, old.token), At: time.Now()}
	if old.state != "" {
		t.After = now.Most(old.since)
	}
	t.Cause, t.Reason = r.causeOf(now, role, old.state, to)
	r.board.moved(now, t)
	if r.annals != nil {
		m := chronicle.Move{Role: role, To: to, Token: t.Token, Wall: t.At}
		m.Cause, m.Detail = r.historyCause(t)
		r.annals.Moved(now, m, r.standings[role])
		if to == Paused && t.Cause == CauseRolledBack {
			r.annals.RolledBack(role)
		}
	}
	if !r.moves.put(t) {
		r.board.drops()
	}
}

// causeOf is why a role went from one state to another, and the details.
func (r *runner) causeOf(now Instant, role string, from, to State) (Cause, error) {
	view := r.machine.Role(role)
	switch to {
	case Standby:
		switch from {
		case Draining:
			return CauseReleased, nil
		case Activating:
			return CauseOutrun, nil
		case Paused:
			return CauseResumed, nil
		}
		return CauseJoined, nil
	case Activating:
		if r.session != nil && !r.standings[role].Term.Vacant() && r.standings[role].Term.Holder.Session == r.session.ID() {
			return CauseGiven, nil
		}
		return CauseVacant, nil
	case Active:
		return CauseGranted, nil
	case Draining:
		return r.whyDraining(role, from, view)
	case Paused:
		return r.whyPaused(now, role)
	case Stopped:
		if view.Done {
			return CauseDone, nil
		}
		return CauseStopping, r.whyStop()
	}
	if from == "" {
		return CauseStarted, nil
	}
	return CauseSessionLost, r.why
}

// whyDraining is why a term ends here.
func (r *runner) whyDraining(role string, from State, view machine.RoleView) (Cause, error) {
	if view.Done && from == Active { // no matter what happened to the session since
		return CauseReturned, nil
	}
	switch cause := CauseOf(view.Cause); {
	case cause == CauseStopping:
		return cause, r.whyStop()
	case cause == CauseStalled && r.disk != nil:
		return cause, fmt.Errorf("%w: %w", ErrStalled, r.disk)
	case view.Cause != nil:
		return cause, view.Cause
	case from != Active:
		return CauseUnused, nil
	case errors.Is(r.failures[role], ErrDeadline): // it was ended in our place
		return CauseDeadline, ErrDeadline
	}
	return CauseFailed, r.failures[role]
}

// whyPaused is why this process does not compete for a role that is in line.
func (r *runner) whyPaused(now Instant, role string) (Cause, error) {
	why, view := r.machine.Reason(now, role), r.machine.Role(role)
	tokens, rolledBack := strings.CutPrefix(why, lock.ErrRolledBack.Error())
	switch {
	case rolledBack:
		return CauseRolledBack, fmt.Errorf("%w%s", lock.ErrRolledBack, tokens)
	case r.machine.Session().Unfit:
		return CauseUnhealthy, r.unfit()
	case view.Drained:
		return CauseDrained, errors.New(why)
	case view.Paused:
		return CausePaused, errors.New(why)
	case view.Refused:
		return CauseRefused, r.refusals[role]
	}
	return CauseHeldDown, r.failures[role]
}

// historyCause is why a term ends here, in the history's words, and the details.
func (r *runner) historyCause(t Transition) (cause, detail string) {
	say := func(err error) string {
		if err == nil {
			return ""
		}
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), ErrStopping.Error()), ": ")
		if f := (*lock.FieldError)(nil); errors.As(err, &f) { // readers may use another flag or file
			text = strings.Replace(text, f.Error(), f.Err.Error(), 1)
		}
		return text
	}
	var unasked stopError
	switch t.Cause {
	case CauseReturned:
		if errors.As(r.whyStop(), &unasked) { // the whole run gives up
			return lock.CauseFailed, say(unasked)
		}
		return lock.CauseDone, ""
	case CauseFailed:
		return lock.CauseFailed, say(t.Reason)
	case CauseUnused:
		return lock.CauseUnused, ""
	case CauseHandoff:
		return lock.CauseAsked, ""
	case CauseDeadline:
		return lock.CauseDeadline, say(r.blind())
	case CauseSessionLost:
		return lock.CauseLost, say(cmp.Or(r.why, t.Reason))
	case CauseSuperseded:
		return lock.CauseLost, say(t.Reason)
	case CauseUnhealthy:
		return lock.CauseUnhealthy, say(r.unfit())
	case CauseDrained:
		return lock.CauseDrained, by(r.standings[t.Role].Term.Holder.Settings.By)
	case CausePaused:
		return lock.CausePaused, by(r.standings[t.Role].Pause.By)
	case CauseStalled:
		return lock.CauseStalled, say(t.Reason)
	}
	if r.err != nil || errors.As(r.whyStop(), &unasked) {
		return lock.CauseFailed, say(r.whyStop())
	}
	return history.CauseOfStop(t.Role, r.whyStop()), say(r.whyStop())
}

// by names who asked for something, if that is known.
func by(who string) string {
	if who == "" {
		return ""
	}
	return "by " + who
}

// Annals are the events that the store is to keep in the roles' history, and where it does.
type annals struct {
	*chronicle.Chronicle
	store lock.Operator
}

// missed is how many events could not be written.
func (a *annals) missed() uint64 {
	if a == nil {
		return 0
	}
	return a.Dropped()
}

// History returns what the contenders have recorded about a role: see lock.Operator. It asks the
// store, for as long as ctx lasts, and nothing that is done for a role waits for it. If the store
// keeps no history, or Run has not begun, the error wraps errors.ErrUnsupported.
func (m *Monitor) History(ctx context.Context, role string) ([]lock.Event, error) {
	if b := m.run.Load(); b != nil && b.annals != nil {
		return b.annals.store.History(ctx, role)
	}
	return nil, fmt.Errorf("no history: %w", errors.ErrUnsupported)
}

// keepHistory queues what is to be recorded in a role's history.
func (r *runner) keepHistory(now Instant, n news) {
	if r.annals == nil {
		return
	}
	switch e := n.event.(type) {
	case machine.Stood:
		r.annals.Stood(e.At, e.Standing, r.machine.ID(r.number))
	case machine.Acquired:
		if e.Outcome == lock.OK {
			r.annals.Granted(now, e.Role)
		}
	case machine.Returned:
		r.annals.Returned(now, e.Role)
	case machine.Beaten:
		r.annals.Beaten(now, e.At, e.Outcome, n.err, time.Now())
	}
}

// writeHistory writes the events that have waited for a beat, if the store answers and no role is
// being taken. It returns how long it is until it has to look again.
func (r *runner) writeHistory(now Instant) time.Duration {
	if r.annals == nil || r.annals.Len() == 0 {
		return never
	}
	wait := r.annals.Wait(now, r.config.BeatEvery())
	if wait > 0 {
		return wait
	}
	if r.blind() == nil && r.annals.Quiet() {
		record := r.recorder()
		r.group.Go(func() { r.annals.Write(r.calls, false, record) })
	}
	return r.config.BeatEvery()
}

// recorder is a call that writes one event, and takes no longer than any other about a role.
func (r *runner) recorder() func(ctx context.Context, role string, e lock.Event) error {
	budget := r.budget(roleTrips)
	return func(ctx context.Context, role string, e lock.Event) error {
		ctx, cancel := context.WithTimeout(ctx, budget)
		defer cancel()
		err := silence(r.annals.store.Record(ctx, role, e), budget)
		if err != nil {
			r.config.Logger.Debug("call failed", "id", r.config.ID, "call", "record", "role", role, "error", err)
		}
		return err
	}
}

// lastWords is the most time that a run that has given everything back takes to record why.
const lastWords = 500 * time.Millisecond

// endHistory writes the queued events, if the store answers, and drops those it cannot.
func (r *runner) endHistory() {
	if r.annals == nil || r.annals.Len() == 0 {
		return
	}
	if r.blind() == nil {
		ctx, cancel := context.WithTimeout(r.calls, min(r.config.Try(), lastWords))
		defer cancel()
		r.annals.Write(ctx, true, r.recorder())
	}
	r.annals.Drop()
}

// Moves are transitions on their way to Config.OnTransition. A nil one takes none.
type moves struct {
	queue  chan Transition
	missed int // since the last one that was queued
}

// movesMost is the most transitions that wait for Config.OnTransition.
const movesMost = 1024

// tellMoves starts the goroutine that calls Config.OnTransition, in order, until the queue is
// closed.
func (r *runner) tellMoves() {
	if r.config.OnTransition == nil {
		return
	}
	queue := make(chan Transition, movesMost)
	r.moves = &moves{queue: queue}
	r.asked.run("OnTransition", func() {
		for t := range queue {
			r.config.OnTransition(t)
		}
	})
}

// put queues a transition, or reports that there is no room.
func (m *moves) put(t Transition) bool {
	if m == nil {
		return true
	}
	t.Missed = m.missed
	select {
	case m.queue <- t:
		m.missed = 0
		return true
	default:
		m.missed++
		return false
	}
}

// close says that there will be no more.
func (m *moves) close() {
	if m != nil {
		close(m.queue)
	}
}
