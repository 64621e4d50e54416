package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/understudy-ha/understudy/lock"
)

// A session is one registration.
type session struct {
	locker    *locker
	contender lock.Contender
	promise   lock.Promise
	created   uint64 // the revision of the registration

	mu      sync.Mutex
	bids    []lock.Bid
	lease   Lease
	beats   int  // since the lease was kept alive
	keeping bool // a call that does so is open
}

var _ lock.Session = (*session)(nil)

func (s *session) ID() lock.SessionID { return s.contender.Session }

// register puts the session in line. The lease comes late, so that one who must
// wait leaves nothing behind.
func (s *session) register(ctx context.Context) error {
	l, id := s.locker, s.contender.Session
	own, end, claim := l.keys.session(id), l.keys.end(id), l.keys.claim(s.contender.ID)
	keys := []string{own, end, claim}
	for {
		found, err := l.store.Read(ctx, keys...)
		if err != nil {
			return err
		}
		if found.Get(end).Revision != 0 {
			return lock.ErrLost
		}
		if was := found.Get(own); was.Revision != 0 {
			return s.resume(ctx, was)
		}
		holder, err := decodeClaim(found.Get(claim))
		if err != nil {
			return err
		}
		t := Txn{Guards: []Guard{{Key: own}, {Key: end}, {Key: claim, Revision: found.Get(claim).Revision}}}
		if holder != "" && holder != id { // the claim counts while that session's record is there
			other := l.keys.session(holder)
			if !slices.Contains(keys, other) {
				keys = []string{own, end, claim, other}
				continue
			}
			if r := found.Get(other); r.Revision != 0 {
				return &lock.HeldError{Name: s.contender.ID, Holder: decodeSession(holder, r).member("")}
			}
			t.Guards = append(t.Guards, Guard{Key: other})
		}
		if done, err := s.claim(ctx, t); done || err != nil {
			return err
		}
	}
}

// claim writes the session and its claim if t's guards hold.
func (s *session) claim(ctx context.Context, t Txn) (done bool, err error) {
	l := s.locker
	if s.lease == "" {
		if s.lease, err = l.store.Grant(ctx, leaseFor(s.promise)); err != nil {
			return false, err
		}
	}
	t.Writes = []Write{
		{Key: l.keys.session(s.contender.Session), Value: s.record(), Lease: s.lease},
		{Key: l.keys.claim(s.contender.ID), Value: encode(claimRecord{newHeader(), s.contender.Session}), Lease: s.lease},
	}
	r, err := l.store.Commit(ctx, t)
	if s.created = r.Revision; r.Committed {
		l.acknowledge(Record{Key: l.keys.session(s.contender.Session), Revision: r.Revision})
	}
	return r.Committed, err
}

// resume goes on with the record that an earlier try of this registration left.
func (s *session) resume(ctx context.Context, was Record) error {
	s.created, s.lease = decodeSession(s.contender.Session, was).created(), was.Lease
	return s.write(ctx, true)
}

func (s *session) record() []byte {
	return encode(sessionRecord{header: newHeader(), Contender: s.contender, Promise: promiseOf(s.promise), Bids: s.bids, Created: s.created})
}

// keepEvery is how many beats there are to each renewal of the lease, which lasts
// for eight beats at least.
const keepEvery = 4

// Beat writes the whole record, with the bids that were given last to any call:
// of calls that are open at once, the one that is committed last tells the bids,
// until the next.
func (s *session) Beat(ctx context.Context, bids ...lock.Bid) error {
	if err := checkBids(bids); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	if len(bids) > 0 {
		defer s.locker.look()
		s.mu.Lock()
		s.bids = bids
		s.mu.Unlock()
	}
	if err := s.write(ctx, len(bids) > 0); err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	s.keep()
	return nil
}

// write renews the record if it exists. Where it may change the line no Watch shows
// an older one.
func (s *session) write(ctx context.Context, line bool) error {
	own := s.locker.keys.session(s.contender.Session)
	for {
		s.mu.Lock()
		w := Write{Key: own, Value: s.record(), Lease: s.lease}
		s.mu.Unlock()
		r, err := s.locker.store.Commit(ctx, Txn{Guards: []Guard{{Key: own, Exists: true}}, Writes: []Write{w}})
		if line && r.Committed {
			s.locker.acknowledge(Record{Key: own, Revision: r.Revision})
		}
		switch {
		case err == nil && !r.Committed:
			return lock.ErrLost
		case w.Lease == "" || !errors.Is(err, ErrNoLease):
			return err
		}
		// The record outlived its lease, on which it did not hang: somebody wrote
		// it by hand. Whether it is there the next try's transaction says.
		lease, err := s.locker.store.Grant(ctx, leaseFor(s.promise))
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.lease = lease
		s.mu.Unlock()
	}
}

// keep keeps the lease alive, with every fourth beat. No beat waits for it, and
// that the lease is gone says nothing: the next beat's transaction tells.
func (s *session) keep() {
	s.mu.Lock()
	s.beats++
	lease, due := s.lease, s.beats >= keepEvery && !s.keeping
	s.keeping = s.keeping || due
	s.mu.Unlock()
	if !due {
		return
	}
	s.locker.background(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, leaseFor(s.promise)/4)
		defer cancel()
		err := s.locker.store.Keep(ctx, lease)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keeping = false
		if err == nil {
			s.beats = 0
		}
	})
}

func (s *session) Close(ctx context.Context) error {
	defer s.locker.look()
	if err := s.releaseAll(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	s.mu.Lock()
	lease := s.lease
	s.mu.Unlock()
	own := s.locker.keys.session(s.contender.Session)
	err := s.locker.end(ctx, ending{
		session: s.contender.Session, why: lock.End{By: s.contender.ID, Why: "closed"}, was: Record{Key: own, Revision: s.created, Lease: lease},
		contender: s.contender.ID, created: s.created, lease: lease, promise: s.promise,
	})
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// releaseAll releases every role of the session: at once those that this Locker's
// watch knows of, for others wait for them, and then what a reading shows.
func (s *session) releaseAll(ctx context.Context) error {
	if p := s.locker.picture(); p != nil {
		if err := s.releaseOf(ctx, p.roles); err != nil {
			return err
		}
	}
	found, err := s.locker.store.Read(ctx, s.locker.keys.roles())
	if err != nil {
		return err
	}
	return s.releaseOf(ctx, newPicture(s.locker.keys, found).roles)
}

// releaseOf releases those of the roles that are the session's. What others have
// changed since they were read is no longer this session's.
func (s *session) releaseOf(ctx context.Context, roles map[string]roleRecord) error {
	l := s.locker
	var mine []Txn // one for each role
	for name, role := range roles {
		if role.held() && role.Holder.Session == s.contender.Session {
			mine = append(mine, l.release(name, role))
		}
	}
	const batch = MaxOps / 3 // each has a guard and two writes
	for len(mine) > 0 {
		n := min(batch, len(mine))
		var all Txn
		for _, t := range mine[:n] {
			all.Guards, all.Writes = append(all.Guards, t.Guards...), append(all.Writes, t.Writes...)
		}
		r, err := l.store.Commit(ctx, all)
		if err != nil {
			return err
		}
		if r.Committed {
			mine = mine[n:]
			continue
		}
		still := slices.DeleteFunc(mine[:n:n], func(t Txn) bool {
			return r.Found.Get(t.Guards[0].Key).Revision != t.Guards[0].Revision
		})
		mine = append(still, mine[n:]...)
	}
	return nil
}
