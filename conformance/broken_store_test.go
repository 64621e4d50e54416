package conformance

import (
	"strings"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// A planted mistake must be caught by the case that names it.
type planted struct {
	what   string
	caught string
	mistake
}

// inStore are mistakes in what a store compares and writes.
var inStore = []planted{
	{"an acquisition does not check its own session", "AcquireEnded", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		return s.standIn(c.Op == ledger.Acquire, c.Session, c, next)
	})},
	{"a handoff does not check its successor", "HandoffGone", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		return s.standIn(c.Op == ledger.Handoff, c.To, c, next)
	})},
	{"an acquisition does not compare the term that it read", "AcquireLateMoved", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Acquire {
			c.Token = s.ledger.Roles[c.Role].Term.Token
		}
		return next(c)
	})},
	{"an acquisition denies the holder", "AcquireAgain", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		r := s.ledger.Roles[c.Role]
		if c.Op == ledger.Acquire && r.Term.Holder.Session == c.Session && r.Term.Over == "" {
			return ledger.Result{Code: ledger.Held, Held: &lock.HeldError{Name: c.Role, Holder: r.Term.Holder, Token: r.Term.Token}}
		}
		return next(c)
	})},
	{"an acquisition takes a role that is held", "AcquireHeld", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if r := s.ledger.Roles[c.Role]; c.Op == ledger.Acquire && r.Term.Holder.Session != c.Session {
			r.Term.Over = "stolen"
			s.ledger.Roles[c.Role] = r
		}
		return next(c)
	})},
	{"one acquisition in twenty takes a role that is held", "History", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if r := s.ledger.Roles[c.Role]; c.Op == ledger.Acquire && s.ledger.Revision%20 == 0 && r.Term.Token != 0 {
			r.Term.Over = "stolen"
			s.ledger.Roles[c.Role] = r
		}
		return next(c)
	})},
	{"an eviction does not compare the beat", "EvictMoved", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Evict {
			c.Seen = s.ledger.Sessions[c.Session].Beat
		}
		return next(c)
	})},
	{"an eviction of what has ended is refused", "EvictAgain", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if _, ended := s.ledger.Ended[c.Session]; c.Op == ledger.Evict && ended {
			return ledger.Result{Code: ledger.Moved}
		}
		return next(c)
	})},
	{"an eviction of the dead waits for a beat that it knows", "EvictAny", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Evict && c.Seen == lock.AnyBeat {
			c.Seen = s.ledger.Sessions[c.Session].Beat + 1
		}
		return next(c)
	})},
	{"absence is taken for an end", "EvictAbsent", absenceEnds()},
	{"absence is taken for an end, and every standby sees it", "WatchSessionDeleted", absenceEnds()},
	{"absence is taken for an end, and a successor starts", "RunSessionDeleted", absenceEnds()},
	{"a release compares the name, not the token", "ReleaseLate", releasesByName()},
	{"a release that arrives late compares the name, not the token", "ReleaseLateSent", releasesByName()},
	{"anybody may release", "ReleaseByAnother", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Release {
			c.Session = s.ledger.Roles[c.Role].Term.Holder.Session
		}
		return next(c)
	})},
	{"a release by another says that the term is over", "ReleaseByAnother", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		r := next(c)
		if c.Op == ledger.Release && r.Code == ledger.Held {
			return ledger.Result{}
		}
		return r
	})},
	{"a release needs a living session", "ReleaseAbsent", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if _, here := s.ledger.Sessions[c.Session]; c.Op == ledger.Release && !here {
			return ledger.Result{Code: ledger.Lost}
		}
		return next(c)
	})},
	{"a handoff that is tried again is another", "HandoffAgain", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		r := s.ledger.Roles[c.Role]
		r.Previous = 0
		s.ledger.Roles[c.Role] = r
		return next(c)
	})},
	{"a late handoff hits a later term of its owner", "HandoffMoved", handsOffByName()},
	{"a handoff that arrives late hits a later term of its owner", "HandoffLateSent", handsOffByName()},
	{"a token is the session's beat", "TokenIncreases", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		return s.token(c, next(c), func(r ledger.Role) lock.Token { return lock.Token(s.ledger.Sessions[r.Term.Holder.Session].Beat) })
	})},
	{"a token begins anew when the record is deleted", "TokenRoleDeleted", counted()},
	{"a raised floor is not heeded", "TokenRaised", counted()},
	{"a floor can be lowered", "TokenRaised", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Raise {
			s.ledger.Offset, s.ledger.Floor = 0, 0
		}
		return next(c)
	})},
	{"a restart forgets what was raised", "TokenRestart", mistake{start: func(s *shelf) { s.ledger.Offset = 0 }}},
	{"a beat writes the role's record", "TokenUnmoved", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		for name, r := range s.ledger.Roles {
			if c.Op == ledger.Beat && r.Term.Holder.Session == c.Session {
				r.Term.Token = lock.Token(s.ledger.Revision + s.ledger.Offset)
				s.ledger.Roles[name] = r
			}
		}
		return next(c)
	})},
	{"a late beat brings its session back", "BeatLost", resurrects()},
	{"a beat that arrives late brings its session back", "BeatLate", resurrects()},
	{"a beat is a number that is used again", "BeatDiffers", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		r := next(c)
		if one, here := s.ledger.Sessions[c.Session]; c.Op == ledger.Beat && here {
			one.Beat = 1 + one.Beat%8
			s.ledger.Sessions[c.Session] = one
		}
		return r
	})},
	{"a registration that finds its own nonce writes no beat", "RegisterAgain", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if _, here := s.ledger.Sessions[c.Contender.Session]; c.Op == ledger.Register && here {
			return ledger.Result{}
		}
		return next(c)
	})},
	{"two contenders have one ID", "RegisterClaimed", unclaimed()},
	{"two processes with one ID race", "RegisterRace", unclaimed()},
	{"a living process is replaced by another with its ID", "RunSameID", unclaimed()},
	{"a nonce is used again after its end", "RegisterEnded", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Register {
			delete(s.ledger.Ended, c.Contender.Session)
		}
		return next(c)
	})},
	{"a session's end leaves its claim", "RegisterEnded", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		id := s.ledger.Sessions[c.Session].Contender.ID
		r := next(c)
		if (c.Op == ledger.Evict || c.Op == ledger.Close) && id != "" && r.Code == ledger.OK {
			s.ledger.Claims[id] = c.Session
		}
		return r
	})},
	{"close writes no end", "SessionClose", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		r := next(c)
		if c.Op == ledger.Close {
			delete(s.ledger.Ended, c.Session)
		}
		return r
	})},
	{"close of a session that has ended frees its contender's roles", "SessionCloseAgain", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		for name, r := range s.ledger.Roles {
			if c.Op == ledger.Close {
				r.Term.Over = "released"
				s.ledger.Roles[name] = r
			}
		}
		return next(c)
	})},
	{"the end of a role ends those whose name begins with its own", "NamesApart", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		for name, r := range s.ledger.Roles {
			for other := range s.ledger.Roles {
				if c.Op == ledger.Close && s.ledger.Roles[name].Term.Holder.Session == c.Session && strings.HasPrefix(other, name) {
					r = s.ledger.Roles[other]
					r.Term.Over = "released"
					s.ledger.Roles[other] = r
				}
			}
		}
		return next(c)
	})},
	{"the line is not ordered by priority", "LineOrder", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		for i := range c.Bids {
			c.Bids[i].Priority = 0
		}
		return next(c)
	})},
	{"a wish goes over to the next term", "AskSeen", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		before := s.ledger.Roles[c.Role].Request
		r := next(c)
		if one := s.ledger.Roles[c.Role]; r.Code == ledger.OK && c.Op == ledger.Handoff && before.Token != 0 {
			before.Token = one.Term.Token
			one.Request = before
			s.ledger.Roles[c.Role] = one
		}
		return r
	})},
	{"a foreign value is overwritten", "ForeignValue", mistake{wrap: overwriting}},
}

type next func(c ledger.Command) ledger.Result

// applied is a mistake around each command.
func applied(f func(s *shelf, c ledger.Command, next next) ledger.Result) mistake {
	return mistake{apply: func(s *shelf, revision uint64, c ledger.Command) ledger.Result {
		done := false
		r := f(s, c, func(c ledger.Command) ledger.Result {
			done = true
			return s.ledger.Apply(revision, c)
		})
		if !done { // the revision is used up all the same
			s.ledger.Apply(revision, ledger.Command{Op: ledger.Nothing})
		}
		return r
	}}
}

// standIn lets a session that is not there stand in its record during a command.
func (s *shelf) standIn(when bool, id lock.SessionID, c ledger.Command, next next) ledger.Result {
	if _, here := s.ledger.Sessions[id]; !here && when {
		s.ledger.Sessions[id] = ledger.Session{Contender: lock.Contender{ID: "ghost", Session: id}}
		defer delete(s.ledger.Sessions, id)
	}
	return next(c)
}

// token gives the term that began another token.
func (s *shelf) token(c ledger.Command, result ledger.Result, token func(r ledger.Role) lock.Token) ledger.Result {
	if r := s.ledger.Roles[c.Role]; result.Changed && (c.Op == ledger.Acquire || c.Op == ledger.Handoff) {
		r.Term.Token = token(r)
		s.ledger.Roles[c.Role] = r
		result.Token = r.Term.Token
	}
	return result
}

// counted counts tokens in the role's record.
func counted() mistake {
	return applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		before := s.ledger.Roles[c.Role].Term.Token
		return s.token(c, next(c), func(ledger.Role) lock.Token { return before + 1 })
	})
}

// absenceEnds takes every role from a session that is not there.
func absenceEnds() mistake {
	return applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		for _, r := range s.ledger.Roles {
			holder := r.Term.Holder.Session
			if _, here := s.ledger.Sessions[holder]; holder != "" && !here {
				s.ledger.Ended[holder] = lock.End{By: "the store", Why: "it is not there"}
			}
		}
		return next(c)
	})
}

func unclaimed() mistake {
	return applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		delete(s.ledger.Claims, c.Contender.ID)
		return next(c)
	})
}

func releasesByName() mistake {
	return applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Release {
			c.Token = s.ledger.Roles[c.Role].Term.Token
		}
		return next(c)
	})
}

func handsOffByName() mistake {
	return applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if r := s.ledger.Roles[c.Role]; c.Op == ledger.Handoff && r.Term.Holder.Session == c.Session {
			c.Token = r.Term.Token
		}
		return next(c)
	})
}

func resurrects() mistake {
	return applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if _, here := s.ledger.Sessions[c.Session]; c.Op == ledger.Beat && !here {
			s.ledger.Sessions[c.Session] = ledger.Session{Contender: lock.Contender{ID: "back", Session: c.Session}, Bids: c.Bids}
		}
		return next(c)
	})
}
