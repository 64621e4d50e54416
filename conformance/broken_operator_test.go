package conformance

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// inOperator are mistakes in what a store keeps for operators.
var inOperator = []planted{
	{"an acquisition passes by a pause", "PauseAcquire", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		return s.passing(c.Op == ledger.Acquire, c, next)
	})},
	{"an acquisition passes by the pause of a role that is held", "PauseHolder", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		held := s.ledger.Roles[c.Role].Term.Over == ""
		return s.passing(c.Op == ledger.Acquire && held, c, next)
	})},
	{"a pause denies the holder", "PauseHolder", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if p := s.ledger.Paused[c.Role]; c.Op == ledger.Acquire && !p.IsZero() {
			return ledger.Result{Code: ledger.Moved}
		}
		return next(c)
	})},
	{"a pause ends the term", "PauseHolder", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if r := s.ledger.Roles[c.Role]; c.Op == ledger.Pause {
			r.Term.Over = "paused"
			s.ledger.Roles[c.Role] = r
		}
		return next(c)
	})},
	{"a pause leaves what was asked", "PauseHolder", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		before := s.ledger.Roles[c.Role].Request
		r := next(c)
		if role := s.ledger.Roles[c.Role]; c.Op == ledger.Pause {
			role.Request = before
			s.ledger.Roles[c.Role] = role
		}
		return r
	})},
	{"a handoff passes by a pause", "PauseHandoff", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		return s.passing(c.Op == ledger.Handoff, c, next)
	})},
	{"a handoff is asked for in a pause", "PauseHandoff", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		return s.passing(c.Op == ledger.Ask, c, next)
	})},
	{"a handoff that was made is refused in a pause", "PauseHandoff", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if p := s.ledger.Paused[c.Role]; c.Op == ledger.Handoff && !p.IsZero() {
			return ledger.Result{Code: ledger.Gone}
		}
		return next(c)
	})},
	{"an acquisition looks whether the role is paused before it", "PauseLate", looksFirst()},
	{"a pause is acknowledged before it counts", "PauseRace", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op != ledger.Pause || c.Pause.IsZero() {
			return next(c)
		}
		time.AfterFunc(time.Millisecond, func() {
			_ = s.change(func() { s.ledger.Apply(s.ledger.Revision+1, c) })
		})
		return ledger.Result{Changed: true}
	})},
	{"a pause does not replace another", "PauseSeen", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if old := s.ledger.Paused[c.Role]; c.Op == ledger.Pause && !old.IsZero() && !c.Pause.IsZero() {
			c.Pause = old
		}
		return next(c)
	})},
	{"a pause is ended that was not seen", "PauseResumed", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Resume {
			c.Pause = s.ledger.Paused[c.Role]
		}
		return next(c)
	})},
	{"a priority that is set makes ready", "SettingsRank", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if id, here := s.ledger.Claims[c.Contender.ID]; c.Op == ledger.Configure && here {
			one := s.ledger.Sessions[id]
			one.Bids = []lock.Bid{{Role: one.Bids[0].Role}}
			s.ledger.Sessions[id] = one
		}
		return next(c)
	})},
	{"a pause ends with a session", "PauseOutlasts", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Close {
			s.ledger.Paused = nil
		}
		return next(c)
	})},
	{"a restart forgets a pause", "PauseRestart", mistake{start: func(s *shelf) { s.ledger.Paused = nil }}},
	{"a restart forgets settings", "PauseRestart", mistake{start: func(s *shelf) { s.ledger.Settings = nil }}},
	{"a restart forgets events", "PauseRestart", mistake{start: func(s *shelf) { s.ledger.History = nil }}},
	{"settings end with the session", "SettingsSeen", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Close {
			delete(s.ledger.Settings, s.ledger.Sessions[c.Session].Contender.ID)
		}
		return next(c)
	})},
	{"settings need a session", "SettingsSeen", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if _, here := s.ledger.Claims[c.Contender.ID]; c.Op == ledger.Configure && !here {
			return ledger.Result{}
		}
		return next(c)
	})},
	{"settings are added to those before", "SettingsReplaced", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Configure {
			c.Settings.Drained = c.Settings.Drained || s.ledger.Settings[c.Contender.ID].Drained
		}
		return next(c)
	})},
	{"events are ordered by their clocks", "EventsKept", recorded(func(all []lock.Event) {
		slices.SortFunc(all, func(a, b lock.Event) int { return a.At.Compare(b.At) })
	})},
	{"an event is recorded as often as it is told", "EventsKept", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if all := s.ledger.History[c.Role]; c.Op == ledger.Record && len(all) > 0 {
			all[len(all)-1].Previous = all[len(all)-1].Token
			all[len(all)-1].Token += 1 << 32
			defer func() { all[len(all)-1].Token -= 1 << 32 }()
		}
		return next(c)
	})},
	{"a history is as long as there are events", "EventsBounded", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		before := slices.Clone(s.ledger.History[c.Role])
		r := next(c)
		if c.Op == ledger.Record {
			s.ledger.History[c.Role] = append(before, c.Event)
		}
		return r
	})},
	{"an event is written into the role's record", "EventsQuiet", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if r := s.ledger.Roles[c.Role]; c.Op == ledger.Record {
			r.Term.Since = c.Event.At
			s.ledger.Roles[c.Role] = r
		}
		return next(c)
	})},
	{"an event replaces one that another told at the same time", "EventsTogether", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if all := s.ledger.History[c.Role]; c.Op == ledger.Record && len(all) > 0 && all[len(all)-1].By != c.Event.By {
			s.ledger.History[c.Role] = all[:len(all)-1]
		}
		return next(c)
	})},
}

// inFence are mistakes in what a store keeps for who fences.
var inFence = []planted{
	{"an intent takes another one's place", "FenceOnce", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Fence {
			delete(s.ledger.Fences, s.ledger.Roles[c.Role].Term.Holder.Session)
		}
		return next(c)
	})},
	{"an intent cannot be written again", "FenceOnce", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if f := s.ledger.Fences[s.ledger.Roles[c.Role].Term.Holder.Session]; c.Op == ledger.Fence && f.Same(c.Fence) {
			return ledger.Result{Code: ledger.Moved}
		}
		return next(c)
	})},
	{"an intent outlives a beat", "FenceVoid", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		r := next(c)
		if f, stands := s.ledger.Fences[c.Session]; c.Op == ledger.Beat && stands {
			f.Beat = s.ledger.Sessions[c.Session].Beat
			s.ledger.Fences[c.Session] = f
		}
		return r
	})},
	{"an intent is written whatever the beat", "FenceVoid", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if one, here := s.ledger.Sessions[s.ledger.Roles[c.Role].Term.Holder.Session]; c.Op == ledger.Fence && here {
			c.Fence.Beat = one.Beat
		}
		return next(c)
	})},
	{"an intent is written for a term that is over", "FenceTerm", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if r := s.ledger.Roles[c.Role]; c.Op == ledger.Fence && r.Term.Over != "" {
			return ledger.Result{}
		}
		return next(c)
	})},
	{"an intent is written for any term", "FenceTerm", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if r := s.ledger.Roles[c.Role]; c.Op == ledger.Fence && r.Term.Token != 0 {
			c.Fence.Token = r.Term.Token
		}
		return next(c)
	})},
	{"an intent ends the session", "FenceHarmless", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		r := next(c)
		if c.Op == ledger.Fence && r.Changed {
			delete(s.ledger.Sessions, s.ledger.Roles[c.Role].Term.Holder.Session)
		}
		return r
	})},
}

// recorded changes a history after each event.
func recorded(change func(all []lock.Event)) mistake {
	return applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		r := next(c)
		change(s.ledger.History[c.Role])
		return r
	})
}

// passing has a command pass by the pause of its role.
func (s *shelf) passing(when bool, c ledger.Command, next next) ledger.Result {
	if p, paused := s.ledger.Paused[c.Role]; when && paused {
		delete(s.ledger.Paused, c.Role)
		defer func() { s.ledger.Paused[c.Role] = p }()
	}
	return next(c)
}

// looksFirst has an acquisition compare the pause that it read some time before it writes.
func looksFirst() mistake {
	m := applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		return s.passing(c.Op == ledger.Acquire, c, next)
	})
	m.wrap = func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, Operator: l.(lock.Operator), session: func(s lock.Session) lock.Session { return looking{s, l} }}
	}
	return m
}

type looking struct {
	lock.Session
	l lock.Locker
}

func (k looking) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	for st, err := range k.l.Watch(ctx, role) {
		if err != nil {
			return 0, err
		}
		if !st.Pause.IsZero() {
			return 0, lock.ErrMoved
		}
		break
	}
	return k.Session.TryAcquire(ctx, role)
}
