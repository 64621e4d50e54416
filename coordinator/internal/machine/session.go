package machine

import (
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A session is this process's registration in the store.
type session struct {
	phase    sessionPhase
	number   int     // of the registration: 1, 2, ...
	stopping bool    // nothing new begins
	sick     bool    // the health check failed, or has not answered yet
	disk     Disk    // that the work needs
	calling  bool    // a Register or Close is in flight
	loose    bool    // the registration before this one may have taken effect, or may yet
	retry    Instant // no Register or Close is due before
	lostAt   Instant // when the loss was learned
	closeBy  Instant // a stop waits until then for the end to be written
	joined   bool    // a registration of this process has succeeded
	refused  Instant // since when the store refuses the session for good; zero: it does not

	engaged Instant // since when it holds a role, or is taking one; zero: it only stands by
	rebid   bool    // its bids have changed, and no beat has carried them yet

	heard Instant       // when the store last acknowledged anything, counted from the start of the call
	sent  Instant       // the latest start of an acknowledged beat; zero: there is no deadline yet
	last  Instant       // when the last attempt at a beat began
	tries int           // attempts since an acknowledgement
	open  int           // attempts without an answer
	trip  time.Duration // how long the last acknowledged attempt took
	slow  time.Duration // the longest round trip to expect, from recent ones; 0: unknown
}

type sessionPhase uint8

const (
	joining sessionPhase = iota // not registered, or not known to be
	live                        // registered
	forlorn                     // lost, while work has not returned
	closing                     // its end is being written
	ended                       // for good
)

// OpenBeats is the most attempts at a beat that may be unanswered at once.
const OpenBeats = 4

// stop lets nothing new begin. If the end is already being written, it gets as much time as one
// that begins now.
func (s session) stop(r Rules, now Instant) session {
	if !s.stopping && s.phase == closing {
		s.closeBy = now.Plus(r.CloseFor)
	}
	s.stopping = true
	return s
}

// deadline is when the session's promise ends, less the skew. This is the only place that
// computes it. Zero: there is none yet.
func (s session) deadline(r Rules) Instant {
	if s.sent.IsZero() {
		return Instant{}
	}
	return s.sent.Plus(r.TTL - r.Skew)
}

// left is how long it is until the deadline.
func (s session) left(r Rules, now Instant) time.Duration {
	if s.sent.IsZero() {
		return 0
	}
	return now.Until(s.deadline(r))
}

func (s session) registered(r Rules, now Instant, e Registered) session {
	if e.Number != s.number {
		return s
	}
	s.calling, s.retry, s.joined = false, now.Plus(r.Retry), s.joined || e.Outcome == lock.OK
	s = s.answered(now, e.Outcome)
	switch e.Outcome {
	case lock.OK:
		s.phase, s.heard, s.loose = live, e.At, false
	case lock.Lost, lock.Unknown:
		// Either its end was written before it began, or an earlier attempt may still take effect
		// and would bring back a session that others count as absent. So each ID is registered by
		// one call only.
		s.number++
		s.loose = e.Outcome == lock.Unknown
	}
	return s
}

// beaten counts from the start of the very attempt that was acknowledged. Of several, the latest
// start counts: the deadline never moves back.
func (s session) beaten(now Instant, e Beaten) session {
	if e.Number != s.number || s.phase == joining {
		return s
	}
	s.open--
	s = s.answered(now, e.Outcome)
	switch e.Outcome {
	case lock.OK:
		if e.At.Most(s.sent) > 0 {
			s.sent = e.At
		}
		s.heard, s.tries, s.trip = s.sent, 0, now.Most(e.At)
		s.slow = max(s.trip, s.slow-s.slow/8, 1)
	case lock.Lost:
		s = s.lose(now)
	}
	return s
}

// unanswered records that a call of several round trips was given up. They may take longer now,
// and while no beats are sent nothing else shows that.
func (s session) unanswered(r Rules) session {
	if s.slow > 0 {
		s.slow = min(max(2*s.slow, r.Try/4), r.Try)
	}
	return s
}

// lose records that the session is gone for good.
func (s session) lose(now Instant) session {
	if s.phase == live {
		s.phase, s.lostAt = forlorn, now
	}
	return s
}

func (s session) closed(r Rules, now Instant, e Closed) session {
	s.calling, s.retry = false, now.Plus(r.Retry)
	s = s.answered(now, e.Outcome)
	switch {
	case e.Outcome != lock.OK:
		return s
	case s.stopping:
		s.phase = ended
		return s
	}
	return session{number: s.number + 1, joined: s.joined, sick: s.sick, disk: s.disk, trip: s.trip, slow: s.slow}
}

// unfit reports whether this process shall have no role.
func (s session) unfit() bool { return s.sick || s.disk != Writable }

// unheardIn is how long it is until the store has acknowledged nothing for a whole promise, or
// for two if the session only stands by: others count the same way.
func (s session) unheardIn(r Rules, now Instant) time.Duration {
	if s.engaged.IsZero() {
		return 2*r.TTL - now.Most(s.heard)
	}
	return r.TTL - min(now.Most(s.heard), now.Most(s.engaged))
}

// decide registers, beats, and closes once no work is left. It never registers while any work has
// not returned. If no beat has been acknowledged for a whole promise, the session is abandoned
// even though its beats may be reaching the store; if only the replies are lost, it would
// otherwise hold roles forever without knowing it.
func (s session) decide(r Rules, busy func() bool, now Instant) (session, []Action) {
	if (s.phase == forlorn || s.phase == live && (s.stopping || s.unheardIn(r, now) <= 0)) && !busy() {
		s.phase, s.retry, s.closeBy = closing, Instant{}, now.Plus(r.CloseFor)
	}
	switch s.phase {
	case joining:
		return s.join(r, busy, now)
	case live:
		return s.beat(r, now)
	case closing:
		if s.stopping && now.Until(s.closeBy) <= 0 {
			s.phase = ended // the end of the promise will end it
		} else if s.due(now) {
			s.calling = true
			return s, []Action{Close{s.number}}
		}
	}
	return s, nil
}

// join registers, unless a stop was requested. Then it ends what a registration may have left in
// the store.
func (s session) join(r Rules, busy func() bool, now Instant) (session, []Action) {
	switch {
	case s.stopping && s.calling: // its outcome says whether there is a session to end
	case s.stopping && s.loose: // a registration that is still in flight must find its end
		s.phase, s.retry, s.closeBy = closing, Instant{}, now.Plus(r.CloseFor)
		s.number--
		return s.decide(r, busy, now)
	case s.stopping:
		s.phase = ended
	case s.due(now) && !busy():
		s.calling = true
		return s, []Action{Register{s.number}}
	}
	return s, nil
}

func (s session) due(now Instant) bool { return !s.calling && now.Until(s.retry) <= 0 }

// beat starts an attempt at a beat, if one is due.
func (s session) beat(r Rules, now Instant) (session, []Action) {
	if s.phase != live || s.open >= OpenBeats || s.beatIn(r, now) > 0 {
		return s, nil
	}
	s.last, s.rebid = now, false
	s.tries++
	s.open++
	return s, []Action{Beat{s.number}}
}

// every is the time between two beats. A session that only stands by has no deadline to keep, and
// others wait for two promises before they take it for dead.
func (s session) every(r Rules) time.Duration {
	if s.engaged.IsZero() {
		return r.IdleEvery
	}
	return r.BeatEvery
}

// beatIn is how long it is until the next attempt at a beat. Attempts are hedged, not backed
// off: while one is unacknowledged, another starts.
func (s session) beatIn(r Rules, now Instant) time.Duration {
	switch s.tries {
	case 0:
		if s.sent.IsZero() || s.rebid {
			return 0
		}
		return s.every(r) - now.Most(s.sent)
	case 1:
		return max(s.hedgeAfter(r, now), min(2*s.trip, r.BeatEvery)) - now.Most(s.last)
	}
	return r.HedgeNext - now.Most(s.last)
}

// hedgeAfter is the least time from the first attempt to the second. Most attempts that take
// longer than usual are answered after all; if half of the promise is left, or no work depends on
// it, there is time to wait.
func (s session) hedgeAfter(r Rules, now Instant) time.Duration {
	if s.engaged.IsZero() || s.left(r, now) > r.TTL/2 {
		return r.HedgeCalm
	}
	return r.HedgeFirst
}

// next is how long the session can wait without an event.
func (s session) next(r Rules, busy func() bool, now Instant) time.Duration {
	switch {
	case s.phase != ended && s.phase != closing && s.stopping && !busy() && (s.phase != joining || !s.calling):
		return 0
	case s.phase == live:
		d := never
		if s.open < OpenBeats {
			d = s.beatIn(r, now)
		}
		if unheard := s.unheardIn(r, now); unheard < d && !busy() {
			d = unheard
		}
		return d
	}
	d := never
	if (s.phase == joining && !busy() || s.phase == closing) && !s.calling {
		d = now.Until(s.retry)
	}
	if s.phase == closing && s.stopping {
		d = min(d, now.Until(s.closeBy))
	}
	return d
}
