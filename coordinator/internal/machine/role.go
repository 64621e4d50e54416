package machine

import (
	"errors"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A Phase is a role's stage in this process. Package coordinator's comment has the table of
// phases and of the words that people see for them.
type Phase uint8

// The phases.
const (
	Standby   Phase = iota // we have no term and ask for none
	Acquiring              // TryAcquire is in flight
	Granted                // we have a token, and its work has not begun
	Working                // the work runs
	Stopping               // the work was told to stop and has not returned
	Ceding                 // the token is being given back; it is never worked under again
	Retired                // the work is done for good
)

// A role is one role that this process takes part in.
type role struct {
	name    string
	phase   Phase
	term    term // ours, from Granted to Ceding
	calling bool // a call about the role is in flight: always in Acquiring, sometimes in Ceding
	done    bool // the work is done for good
	unsure  bool // the last acquisition had no answer: the role may be ours
	store   view
	gave    lock.Token // the last token that was given up

	retry   Instant // no call is made before
	refused Instant // since when the store refuses the role for good; zero: it does not
	hidden  Instant // since when it refuses for good to show the role; zero: it does not
	fails   int     // activations that failed in a row
	holdTo  Instant // held down until then
}

// A term is our own tenure of a role.
type term struct {
	token  lock.Token
	began  Instant // when the work started
	cause  error   // why the work was told to stop; nil: it was not
	toldAt Instant // when
	exited bool    // the work outlived its time, and the exit is decided
	stalls bool    // the work makes no progress
}

// look records a standing.
func (r role) look(c Rules, s session, now Instant, st lock.Standing) role {
	r.store = r.store.look(st, c.ID(s.number), r.term.token, now)
	r.retry, r.hidden = Instant{}, Instant{}
	r.unsure = r.unsure && (r.store.vacant || r.store.holder == c.ID(s.number))
	return r
}

// unwanted reports whether we must not take the role, though we could.
func (r role) unwanted(s session) bool {
	return r.done || s.unfit() || r.store.drained != "" || r.store.halted
}

// superseded reports whether the store names another term than ours, or no longer has the record
// that it showed us, including after a rollback to an earlier term, or has something foreign in
// its place: others may then take the role.
func (r role) superseded() bool {
	v, ours := r.store, r.term.token
	foreign := v.vanished && !r.hidden.IsZero()
	return foreign || v.held > ours || v.held == ours && (v.vacant || v.vanished) || v.forgot() && v.seen >= ours
}

// named reports whether the store says that we hold the role, under a token that we have not
// given up, or that we gave up to a store that was since rolled back and forgot it.
func (r role) named(c Rules, s session) bool {
	v := r.store
	return v.holder == c.ID(s.number) && !v.vacant && !v.vanished && (v.held > r.gave || v.forgot())
}

// engaged reports whether we hold the role, or are taking it, or may have taken it.
func (r role) engaged() bool { return r.phase != Standby && r.phase != Retired || r.unsure }

// working reports whether the work has not returned.
func (r role) working() bool { return r.phase == Working || r.phase == Stopping }

// answered records that a call about the role returned, before the event's own rule.
func (r role) answered(c Rules, now Instant, o lock.Outcome) role {
	r.calling, r.retry = false, now.Plus(c.Retry)
	switch o {
	case lock.Refused:
		r = r.refuse(now)
		r.retry = now.Plus(c.BeatEvery)
	case lock.Unknown:
	default:
		r.refused = Instant{}
	}
	return r
}

// acquired records how the acquisition went. Only its answer is a grant, and a token that is not
// greater than every one seen does not allow work.
func (r role) acquired(c Rules, s session, now Instant, e Acquired) role {
	r = r.answered(c, now, e.Outcome)
	r.unsure = e.Outcome == lock.Unknown
	switch e.Outcome {
	case lock.OK:
		stale := e.Token <= r.gave || e.Token < r.store.seen || e.Token == r.store.seen && r.store.seenBy != c.ID(s.number)
		r.phase, r.term, r.retry = Granted, term{token: e.Token}, Instant{}
		if stale {
			r.phase = Ceding
		}
		return r
	case lock.Held:
		r.retry = now.Plus(c.BeatEvery) // or the next standing
	}
	return r.rest()
}

// released records how the release went.
func (r role) released(c Rules, now Instant, e Released) role {
	r = r.answered(c, now, e.Outcome)
	if e.Outcome == lock.OK {
		r = r.over()
	}
	return r
}

// handedOff records how the handoff went.
func (r role) handedOff(c Rules, now Instant, e HandedOff) role {
	r = r.answered(c, now, e.Outcome)
	switch e.Outcome {
	case lock.OK, lock.Moved:
		r = r.over()
	case lock.Gone:
		r.store.request, r.retry = "", Instant{}
	}
	return r
}

// stalled records that the work makes no progress. Work that was told to stop need not make any.
func (r role) stalled(e Stalled) role {
	r.term.stalls = r.term.stalls || r.phase == Working && r.term.token == e.Token
	return r
}

// returned records that the work has returned. Its token is spent; a stall is a failure.
func (r role) returned(c Rules, now Instant, e Returned) role {
	told, stalled := r.phase == Stopping, errors.Is(r.term.cause, ErrStalled)
	r.phase, r.retry = Ceding, Instant{}
	switch {
	case !stalled && (told || e.How == Cancelled):
		return r
	case !stalled && e.How == Done:
		r.done = true
		return r
	case now.Most(r.term.began) > c.HoldMost:
		r.fails = 0
	}
	r.fails++
	r.holdTo = now.Plus(r.holdFor(c))
	return r
}

// missed reports whether e is the return of work that the deadline ended. Its term is over, and
// so is the session: if only the replies are lost, beats that are still committed would keep the
// role from others.
func (r role) missed(e Returned) bool {
	return errors.Is(r.term.cause, ErrDeadline) || r.phase != Stopping && e.How == Cancelled
}

// over is the role once its term is known to be over.
func (r role) over() role {
	r.gave = max(r.gave, r.term.token)
	r.term, r.calling, r.unsure, r.store.request = term{}, false, false, ""
	return r.rest()
}

// rest is the role without a term.
func (r role) rest() role {
	r.phase = Standby
	if r.done {
		r.phase = Retired
	}
	return r
}

// decide picks what to do next.
func (r role) decide(c Rules, s session, now Instant) (role, []Action) {
	switch r.phase {
	case Working, Stopping:
		return r.watch(c, s, now)
	case Granted, Ceding:
		return r.settle(c, s, now)
	}
	return r.compete(c, s, now)
}

// watch tells the work to stop, and makes sure that it has.
func (r role) watch(c Rules, s session, now Instant) (role, []Action) {
	var do []Action
	cause := r.reason(c, s, now)
	if cause != nil && (r.phase == Working || !errors.Is(cause, r.term.cause) && Asked(r.term.cause)) {
		r.phase, r.term.cause, r.term.toldAt = Stopping, cause, now
		do = append(do, Cancel{r.name, cause})
	}
	if r.phase == Stopping && !r.term.exited && r.exitIn(c, s, now) <= 0 {
		r.term.exited = true
		do = append(do, Exit{r.name, r.term.token})
	}
	return r, do
}

// reason is why the work must stop, or nil. A loss outweighs a request.
func (r role) reason(c Rules, s session, now Instant) error {
	switch {
	case s.phase != live:
		return ErrSessionLost
	case s.left(c, now) <= c.Grace:
		return ErrDeadline
	case r.superseded():
		return ErrSuperseded
	case r.term.stalls || s.disk == Hanging:
		return ErrStalled
	case s.stopping:
		return ErrStopping
	case s.unfit():
		return ErrUnhealthy
	case r.store.drained != "":
		return ErrDrained
	case r.store.halted:
		return ErrPaused
	case r.store.request != "":
		return ErrHandoff
	}
	return nil
}

// exitIn is how long the work may take to return: until the deadline, after a loss or a stall at most
// the grace, after a request at most the stop timeout.
func (r role) exitIn(c Rules, s session, now Instant) time.Duration {
	left := s.left(c, now)
	switch {
	case s.phase != live:
		left = min(left, c.Grace-now.Most(s.lostAt))
	case errors.Is(r.term.cause, ErrSuperseded) || errors.Is(r.term.cause, ErrStalled):
		left = min(left, c.Grace-now.Most(r.term.toldAt))
	}
	return min(left, c.StopTimeout-now.Most(r.term.toldAt))
}

// settle starts the work of a grant, or gives a token back until the answer is definite. Only
// then can we compete for a new token.
func (r role) settle(c Rules, s session, now Instant) (role, []Action) {
	if s.phase != live {
		return r, nil // the session's end ends the term
	}
	if s.stopping || r.unwanted(s) || r.superseded() {
		r.phase = Ceding
	}
	if r.phase == Granted {
		if s.left(c, now) <= c.Grace+c.BeatEvery {
			return r, nil // a beat is due; it comes first, or the work might be stopped at once
		}
		r.phase, r.term.began = Working, now
		return r, []Action{Start{r.name, s.number, r.term.token}}
	}
	if r.calling || now.Until(r.retry) > 0 {
		return r, nil
	}
	r.calling = true
	if errors.Is(r.term.cause, ErrHandoff) && r.store.request != "" {
		return r, []Action{Handoff{r.name, s.number, r.term.token, r.store.request}}
	}
	return r, []Action{Release{r.name, s.number, r.term.token}}
}

// compete tries to take the role when it is vacant and it is our turn, or when the store says
// that it was given to us: only TryAcquire gives the token.
func (r role) compete(c Rules, s session, now Instant) (role, []Action) {
	if r.wait(c, s, now) > 0 {
		return r, nil
	}
	r.phase, r.calling = Acquiring, true
	return r, []Action{Acquire{r.name, s.number}}
}

// wait is how long it is until an acquisition is due.
func (r role) wait(c Rules, s session, now Instant) time.Duration {
	switch {
	case s.stopping || s.phase != live || r.phase == Acquiring || !r.store.known:
		return never
	case r.named(c, s): // even if it is not wanted: then it is released
		return now.Until(r.retry)
	case !r.store.vacant || r.unwanted(s) || r.store.paused != "" || r.store.rolledBack():
		return never
	}
	turn := r.store.since.Plus(time.Duration(r.store.rank) * c.Turn)
	return max(now.Until(r.retry), now.Until(turn), r.holdDown(c, now))
}

// holdFor is the hold-down after the last failure: it doubles with each in a row.
func (r role) holdFor(c Rules) time.Duration {
	return min(c.HoldFirst<<min(r.fails-1, 20), c.HoldMost)
}

// holdDown is how much longer a role that keeps failing here is left to others. If there are no
// others, only the shortest pause is kept.
func (r role) holdDown(c Rules, now Instant) time.Duration {
	left := now.Until(r.holdTo)
	if r.fails == 0 || left <= 0 {
		return 0
	}
	if r.store.alone {
		return left - (r.holdFor(c) - c.HoldFirst)
	}
	return left
}

// next is how long the role can wait without an event.
func (r role) next(c Rules, s session, now Instant) time.Duration {
	switch r.phase {
	case Working:
		return s.left(c, now) - c.Grace
	case Stopping:
		if r.term.exited {
			return never
		}
		return r.exitIn(c, s, now)
	case Granted:
		return r.refusedNext(c, now)
	case Ceding:
		if r.calling || s.phase != live {
			return r.refusedNext(c, now)
		}
		return min(now.Until(r.retry), r.refusedNext(c, now))
	}
	return min(r.wait(c, s, now), r.refusedNext(c, now))
}
