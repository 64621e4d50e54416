package coordinator

import (
	"errors"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A role is one role that this process takes part in.
type role struct {
	done bool // its work said that it is done for good

	// What the store said last.
	known    bool // it said anything
	holder   lock.SessionID
	held     lock.Token // the holder's token
	vacant   bool
	vanished bool       // its record is gone, or not readable, though it had one
	store    string     // the identity of the store that said it
	since    Instant    // when it became vacant in our eyes
	rank     int        // of this process in line: see rank
	alone    bool       // nobody else is in line
	floor    lock.Token // every token to come is greater, the store says
	seen     lock.Token // the greatest token of any term
	seenBy   lock.SessionID
	wish     lock.SessionID // whom an operator asked our term to be handed to

	// Our own term.
	token   lock.Token // granted, and not known to be over; zero: none
	gave    lock.Token // the last one that was given up
	spent   bool       // never to be worked under again
	working bool       // its work has not returned
	told    bool       // the work was told to stop
	cause   error      // why
	toldAt  Instant
	expired bool // the work outlived its time, and the exit was decided

	calling verb // the call in flight; zero: none
	retry   Instant
	began   Instant // when the work started
	refused Instant // since when the store refuses for good what is asked about the role; zero: it does not
	hidden  Instant // since when it refuses for good to say how the role stands; zero: it does not
	fails   int     // activations that failed in a row
	holdTo  Instant // held down until then
}

// look takes in a standing.
func (r role) look(c rules, s session, now Instant, st lock.Standing) role {
	t, me := st.Term, c.id(s.number)
	was := r.vacant
	adopted := r.store != "" && st.Store != r.store // an operator's word: nobody works with the old one any more
	r.vanished = t.Token == 0 && r.held != 0 && !adopted
	r.store = st.Store
	if !r.vanished {
		r.holder, r.held, r.vacant = t.Holder.Session, t.Token, t.Vacant()
		r.floor = st.Floor
	}
	if r.vacant && (!was || !r.known) {
		r.since = now
	}
	if t.Token > r.seen {
		r.seen, r.seenBy = t.Token, t.Holder.Session
	}
	r.known, r.alone, r.wish, r.retry, r.hidden = true, true, "", Instant{}, Instant{}
	r.rank = rank(st, me)
	for _, m := range st.Line {
		r.alone = r.alone && m.Session == me
		if m.Session == st.Request.To && st.Request.Token == r.token && m.Session != me {
			r.wish = m.Session
		}
	}
	return r
}

// rank is a session's place in line, the last until the store shows it there. Whoever
// held the role last is passed over: it may have let it go because it stops, and then
// its session is in line until its end is written.
func rank(st lock.Standing, id lock.SessionID) int {
	line := slices.DeleteFunc(slices.Clone(st.Line), func(m lock.Member) bool { return m.Session == st.Term.Holder.Session })
	if i := slices.IndexFunc(line, func(m lock.Member) bool { return m.Session == id }); i >= 0 {
		return i
	}
	return len(line)
}

// superseded reports whether the store names another term than ours, or has lost
// the record of ours after it showed it, or has what is no record of ours in its place:
// also where it was rolled back to an earlier term, for others may take the role then.
func (r role) superseded() bool {
	foreign := r.vanished && r.hidden != (Instant{})
	return foreign || r.held > r.token || r.held == r.token && (r.vacant || r.vanished) || r.forgot() && r.seen >= r.token
}

// observe takes in the return of a call or of the work.
func (r role) observe(c rules, s session, now Instant, e event) role {
	if e.kind == returned {
		return r.returned(c, now, e)
	}
	if e.number != s.number {
		return r
	}
	r.calling, r.retry = 0, now.plus(c.retry)
	switch e.outcome {
	case permanent:
		r = r.refuse(now)
		r.retry = now.plus(c.beatEvery)
	case unknown:
	default:
		r.refused = Instant{}
	}
	switch {
	case e.kind == acquired && e.outcome == ok:
		r.token, r.cause, r.told, r.expired = e.token, nil, false, false
		// A token that is not greater than one seen is no grant to work on.
		r.spent = e.token <= r.gave || e.token < r.seen || e.token == r.seen && r.seenBy != c.id(s.number)
		r.retry = Instant{}
	case e.kind == acquired && e.outcome == held:
		r.retry = now.plus(c.beatEvery) // or the next standing
	case e.kind == released && e.outcome == ok, e.kind == handed && (e.outcome == ok || e.outcome == moved):
		r = r.settled()
	case e.kind == handed && e.outcome == gone:
		r.wish, r.retry = "", Instant{}
	}
	return r
}

// refuse takes in that the store refuses, for good, what was asked about the role.
func (r role) refuse(now Instant) role {
	if r.refused == (Instant{}) {
		r.refused = now
	}
	return r
}

// refusedIn is how long it is until the role has been refused for a whole promise, in
// which an operator could have cured it. Work that runs needs nothing that is refused.
func (r role) refusedIn(c rules, now Instant) time.Duration {
	if r.working || r.done {
		return never
	}
	in := never
	for _, since := range []Instant{r.refused, r.hidden} {
		if since != (Instant{}) {
			in = min(in, c.ttl-now.most(since))
		}
	}
	return in
}

// refusedNext is refusedIn until that is over: then it was looked at.
func (r role) refusedNext(c rules, now Instant) time.Duration {
	if in := r.refusedIn(c, now); in > 0 {
		return in
	}
	return never
}

// isRefused reports whether the store refuses anything about the role for good.
func (r role) isRefused() bool { return r.refused != (Instant{}) || r.hidden != (Instant{}) }

// missed reports whether e is the return of work that the deadline ended. Its term
// is over, and so is the session: beats that are still committed would only keep
// others from it, where the replies are lost.
func (r role) missed(e event) bool {
	return e.kind == returned && (errors.Is(r.cause, ErrDeadline) || !r.told && e.outcome == cancelled)
}

// returned takes in that the work has returned. From here on its token is spent.
func (r role) returned(c rules, now Instant, e event) role {
	r.working, r.spent, r.retry = false, true, Instant{}
	if r.told || e.outcome == cancelled {
		return r
	}
	if e.outcome == ok {
		r.done = true
		return r
	}
	if now.most(r.began) > c.holdMost {
		r.fails = 0
	}
	r.fails++
	r.holdTo = now.plus(min(c.holdFirst<<min(r.fails-1, 20), c.holdMost))
	return r
}

// settled is the role when its term is known to be over.
func (r role) settled() role {
	r.gave = max(r.gave, r.token)
	r.token, r.spent, r.told, r.cause, r.calling, r.wish = 0, false, false, nil, 0, ""
	return r
}

// decide picks what to do next.
func (r role) decide(c rules, s session, now Instant) (role, []action) {
	switch {
	case r.working:
		return r.watchWork(c, s, now)
	case r.token != 0:
		return r.settle(c, s, now)
	}
	return r.compete(c, s, now)
}

// watchWork tells the work to stop, and sees to it that it has.
func (r role) watchWork(c rules, s session, now Instant) (role, []action) {
	var do []action
	if cause := r.reason(c, s, now); cause != nil && (!r.told || !errors.Is(cause, r.cause) && r.asked()) {
		r.told, r.cause, r.toldAt = true, cause, now
		do = append(do, action{do: cancelWork, cause: cause})
	}
	if r.told && !r.expired && r.exitIn(c, s, now) <= 0 {
		r.expired = true
		do = append(do, action{do: exit, token: r.token})
	}
	return r, do
}

// reason is why the work must stop, or nil. A loss counts more than a wish.
func (r role) reason(c rules, s session, now Instant) error {
	switch {
	case s.phase != live:
		return ErrSessionLost
	case s.left(c, now) <= c.grace:
		return ErrDeadline
	case r.superseded():
		return ErrSuperseded
	case s.stopping:
		return ErrStopping
	case s.sick:
		return ErrUnhealthy
	case r.wish != "":
		return ErrHandoff
	}
	return nil
}

// asked reports whether the work was told to stop because somebody asked for it.
func (r role) asked() bool { return Asked(r.cause) }

// Asked reports whether a term that ended for this cause was asked to end: its work has
// the stop timeout to return, with beats going on. After any other cause it has the grace.
func Asked(cause error) bool {
	return errors.Is(cause, ErrStopping) || errors.Is(cause, ErrHandoff) || errors.Is(cause, ErrUnhealthy)
}

// exitIn is how long the work may take to return: until the deadline; after a
// loss the grace, after a wish the stop timeout.
func (r role) exitIn(c rules, s session, now Instant) time.Duration {
	left := s.left(c, now)
	switch {
	case s.phase != live:
		left = min(left, c.grace-now.most(s.lostAt))
	case errors.Is(r.cause, ErrSuperseded):
		left = min(left, c.grace-now.most(r.toldAt))
	}
	return min(left, c.stopTimeout-now.most(r.toldAt))
}

// settle starts the work of a fresh grant, or gives a spent one back until the
// answer is definite. Only then is there a new token to compete for.
func (r role) settle(c rules, s session, now Instant) (role, []action) {
	if s.phase != live {
		return r, nil // the session's end ends the term
	}
	if s.stopping || s.sick || r.done || r.superseded() {
		r.spent = true
	}
	if !r.spent {
		if s.left(c, now) <= c.grace {
			return r, nil // a beat is due; it comes first
		}
		r.working, r.began = true, now
		return r, []action{{do: startWork, token: r.token}}
	}
	if r.calling != 0 || now.until(r.retry) > 0 {
		return r, nil
	}
	if errors.Is(r.cause, ErrHandoff) && r.wish != "" {
		r.calling = handoff
		return r, []action{{do: handoff, token: r.token, session: r.wish}}
	}
	r.calling = release
	return r, []action{{do: release, token: r.token}}
}

// compete tries to take the role when it is vacant and it is our turn, or when
// the store says that it was given to us: only TryAcquire tells the token.
func (r role) compete(c rules, s session, now Instant) (role, []action) {
	if r.wait(c, s, now) > 0 {
		return r, nil
	}
	r.calling = acquire
	return r, []action{{do: acquire}}
}

// wait is how long it is until an acquisition is due.
func (r role) wait(c rules, s session, now Instant) time.Duration {
	switch {
	case s.stopping || s.phase != live || r.calling != 0 || !r.known:
		return never
	case r.named(c, s): // also where it is not wanted: then it is released
		return now.until(r.retry)
	case !r.vacant || r.done || s.sick || r.rolledBack():
		return never
	}
	turn := r.since.plus(time.Duration(r.rank) * c.turn)
	return max(now.until(r.retry), now.until(turn), r.holdDown(c, now))
}

// named reports whether the store says that we hold the role, under a token that
// we have not given up: or have, and a store that was rolled back forgot it.
func (r role) named(c rules, s session) bool {
	return r.holder == c.id(s.number) && !r.vacant && !r.vanished && (r.held > r.gave || r.forgot())
}

// forgot reports whether the store names an earlier term than it did: it was rolled
// back, or another one was adopted in its place.
func (r role) forgot() bool { return !r.vanished && r.held < r.seen }

// rolledBack reports whether the store forgot a token that it had given, and does not
// promise a greater one: nobody who saw it asks for the role.
func (r role) rolledBack() bool { return r.forgot() && r.floor < r.seen }

// holdDown is how long a role that keeps failing here is left to others. Where
// there are none, only the shortest pause is kept.
func (r role) holdDown(c rules, now Instant) time.Duration {
	left := now.until(r.holdTo)
	if r.fails == 0 || left <= 0 {
		return 0
	}
	if r.alone {
		return left - (min(c.holdFirst<<min(r.fails-1, 20), c.holdMost) - c.holdFirst)
	}
	return left
}

// next is how long the role can wait for an event before it wants a tick.
func (r role) next(c rules, s session, now Instant) time.Duration {
	switch {
	case r.working && !r.told:
		return s.left(c, now) - c.grace
	case r.working && !r.expired:
		return r.exitIn(c, s, now)
	case r.working:
		return never
	case r.token != 0 && r.spent && r.calling == 0 && s.phase == live:
		return min(now.until(r.retry), r.refusedNext(c, now))
	case r.token != 0:
		return r.refusedNext(c, now)
	}
	return min(r.wait(c, s, now), r.refusedNext(c, now))
}
