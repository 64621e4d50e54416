package kv

import (
	"context"
	"errors"
	"maps"

	"github.com/understudy-ha/understudy/lock"
)

// A role without a record was never held, or its record was deleted by hand while its holder
// works on. So each session's beat names the terms that the session has, and a contender that
// takes a role without a record first reads what the others' records say. Two cases are not
// covered: a record that is deleted before its holder's next beat, and one that is deleted
// together with the holder's session.

// mostTold is the most bytes of roles in a session's record: more could make it too large for the
// store, and this only guards against an operator's mistake.
const mostTold = 64 << 10

// hold notes a term that was granted to the session.
func (s *session) hold(role string, t lock.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds == nil {
		s.holds = map[string]lock.Token{}
	}
	s.holds[role] = t
}

// drop notes that a term of the session is over, if err says so.
func (s *session) drop(role string, t lock.Token, err error) {
	if err != nil && !errors.Is(err, lock.ErrMoved) && !errors.Is(err, lock.ErrHeld) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds[role] == t {
		delete(s.holds, role)
	}
}

// told is what the session's record says about its terms. The session's mutex is held.
func (s *session) told() map[string]lock.Token {
	size := 0
	for role := range s.holds {
		size += len(role)
	}
	if size > mostTold {
		return nil
	}
	return maps.Clone(s.holds)
}

// alone reports whether nobody else was in line for a role when p was shown.
func (p *picture) alone(role string, id lock.SessionID) bool {
	for other, s := range p.sessions {
		if _, bids := s.priorities[role]; bids && other != id {
			return false
		}
	}
	return true
}

// unrecorded returns a *lock.HeldError if another session says that it has a term of a role that
// has no record.
func (s *session) unrecorded(ctx context.Context, name string) error {
	sessions := s.locker.keys.sessions()
	found, err := s.locker.readHere(ctx, sessions)
	if err != nil {
		return err
	}
	for _, r := range found.Records {
		kind, id := s.locker.keys.kind(r.Key)
		if kind != "line/session" || lock.SessionID(id) == s.contender.Session {
			continue
		}
		other := decodeSession(lock.SessionID(id), r)
		if t := other.Holds[name]; t != 0 {
			return &lock.HeldError{Name: name, Holder: other.member(name), Token: t}
		}
	}
	return nil
}
