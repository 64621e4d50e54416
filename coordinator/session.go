package coordinator

import "time"

// A session is this process's registration in the store.
type session struct {
	phase    sessionPhase
	number   int     // of the registration: 1, 2, ...
	stopping bool    // no more than what must be finished
	sick     bool    // the health check failed, or said nothing yet
	calling  bool    // a Register or Close is in flight
	loose    bool    // the registration before this one may have taken effect, or may yet
	retry    Instant // the next of them is not due before
	lostAt   Instant // when the loss was learned
	closeBy  Instant // a stop waits for the end to be written until then

	heard Instant       // when the store last acknowledged anything, counted as sent is
	sent  Instant       // when the acknowledged beat began that began last; zero: there is no deadline yet
	last  Instant       // when the last try of a beat began
	tries int           // since an acknowledgement
	open  int           // tries without an answer
	trip  time.Duration // how long the last acknowledged try took
	slow  time.Duration // how long a round trip may take, by what was seen of late; 0: nothing was
}

type sessionPhase uint8

const (
	joining sessionPhase = iota // not registered, or not known to be
	live                        // registered
	forlorn                     // lost, and work has not returned
	closing                     // its end is being written
	ended                       // for good
)

// openTries is how many tries of a beat may be without an answer.
const openTries = 4

// stop asks for no more than what must be finished. An end that is being written already
// gets the time of one that begins now.
func (s session) stop(r rules, now Instant) session {
	if !s.stopping && s.phase == closing {
		s.closeBy = now.plus(r.closeFor)
	}
	s.stopping = true
	return s
}

// left is how long the session's promise still stands, less the skew.
func (s session) left(r rules, now Instant) time.Duration {
	if s.sent == (Instant{}) {
		return 0
	}
	return r.ttl - r.skew - now.most(s.sent)
}

func (s session) registered(r rules, now Instant, e event) session {
	if e.number != s.number {
		return s
	}
	s.calling, s.retry = false, now.plus(r.retry)
	switch e.outcome {
	case ok:
		s.phase, s.heard, s.loose = live, e.at, false
	case lost, unknown:
		// Its end was written before it began; or an earlier try may still take
		// effect, and would bring a session back that others count as absent: each
		// ID is registered by one call only.
		s.number++
		s.loose = e.outcome == unknown
	}
	return s
}

// beaten counts from the start of the very try that was acknowledged. Of several
// the greatest start counts: the deadline never goes back.
func (s session) beaten(now Instant, e event) session {
	if e.number != s.number || s.phase == joining {
		return s
	}
	s.open--
	switch e.outcome {
	case ok:
		if e.at.most(s.sent) > 0 {
			s.sent = e.at
		}
		s.heard, s.tries, s.trip = s.sent, 0, now.most(e.at)
		s.slow = max(s.trip, s.slow-s.slow/8, 1)
	case lost:
		s = s.lose(now)
	}
	return s
}

// unanswered takes in that a call that takes several round trips was given up: they may
// take longer than they did, and where no beats are sent nothing else tells.
func (s session) unanswered(r rules) session {
	if s.slow > 0 {
		s.slow = min(max(2*s.slow, r.try/4), r.try)
	}
	return s
}

// lose takes in that the session is gone for good.
func (s session) lose(now Instant) session {
	if s.phase == live {
		s.phase, s.lostAt = forlorn, now
	}
	return s
}

func (s session) closed(r rules, now Instant, e event) session {
	s.calling, s.retry = false, now.plus(r.retry)
	switch {
	case e.outcome != ok:
		return s
	case s.stopping:
		s.phase = ended
		return s
	}
	return session{number: s.number + 1, sick: s.sick, trip: s.trip, slow: s.slow}
}

// unheardIn is how long it is until the store has acknowledged nothing for the
// whole promise.
func (s session) unheardIn(r rules, now Instant) time.Duration {
	return r.ttl - now.most(s.heard)
}

// decide registers, beats, and closes when no work is left. There is no new
// registration while any work has not returned. A session of whose beats nothing
// is heard is given up too: where only the replies are lost it would hold for ever
// what it does not know of.
func (s session) decide(r rules, busy func() bool, now Instant) (session, []action) {
	if (s.phase == forlorn || s.phase == live && (s.stopping || s.unheardIn(r, now) <= 0)) && !busy() {
		s.phase, s.retry, s.closeBy = closing, Instant{}, now.plus(r.closeFor)
	}
	switch s.phase {
	case joining:
		switch {
		case s.stopping && s.calling: // how it went says whether there is a session to end
		case s.stopping && s.loose: // a registration that is still on its way must find its end
			s.phase, s.retry, s.closeBy = closing, Instant{}, now.plus(r.closeFor)
			s.number--
			return s.decide(r, busy, now)
		case s.stopping:
			s.phase = ended
		case s.due(now) && !busy():
			s.calling = true
			return s, []action{{do: register, number: s.number}}
		}
	case live:
		if s.open < openTries && s.beatIn(r, now) <= 0 {
			s.last = now
			s.tries++
			s.open++
			return s, []action{{do: beat, number: s.number}}
		}
	case closing:
		if s.stopping && now.until(s.closeBy) <= 0 {
			s.phase = ended // the promise ends it
		} else if s.due(now) {
			s.calling = true
			return s, []action{{do: closeSession, number: s.number}}
		}
	}
	return s, nil
}

func (s session) due(now Instant) bool { return !s.calling && now.until(s.retry) <= 0 }

// beatIn is how long it is until the next try of a beat. Tries are hedged, not
// backed off: while one is unacknowledged another starts.
func (s session) beatIn(r rules, now Instant) time.Duration {
	switch s.tries {
	case 0:
		if s.sent == (Instant{}) {
			return 0
		}
		return r.beatEvery - now.most(s.sent)
	case 1:
		return max(r.hedgeFirst, min(2*s.trip, r.beatEvery)) - now.most(s.last)
	}
	return r.hedgeNext - now.most(s.last)
}

func (s session) next(r rules, busy func() bool, now Instant) time.Duration {
	switch {
	case s.phase != ended && s.phase != closing && s.stopping && !busy() && !(s.phase == joining && s.calling):
		return 0
	case s.phase == live:
		d := never
		if s.open < openTries {
			d = s.beatIn(r, now)
		}
		if unheard := s.unheardIn(r, now); unheard < d && !busy() {
			d = unheard
		}
		return d
	}
	d := never
	if (s.phase == joining && !busy() || s.phase == closing) && !s.calling {
		d = now.until(s.retry)
	}
	if s.phase == closing && s.stopping {
		d = min(d, now.until(s.closeBy))
	}
	return d
}
