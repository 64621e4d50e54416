package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A session is one registration.
type session struct {
	locker    *locker
	contender lock.Contender
	promise   lock.Promise
	created   uint64 // the revision of the registration

	mu      sync.Mutex
	lost    bool // a beat was refused: its record is gone
	bids    []lock.Bid
	holds   map[string]lock.Token // by role: see unrecorded
	lease   Lease
	kept    time.Time // when the lease was granted, or last kept alive
	keeping bool      // a call that keeps it alive is open
}

var _ lock.Session = (*session)(nil)

func (s *session) ID() lock.SessionID { return s.contender.Session }

// register puts the session in line. It takes the lease late, so that a contender that must wait
// leaves nothing behind.
func (s *session) register(ctx context.Context) error {
	l, id := s.locker, s.contender.Session
	own, end, claim := l.keys.session(id), l.keys.end(id), l.keys.claim(s.contender.ID)
	keys := []string{own, end, claim}
	for {
		found, err := l.readHere(ctx, keys...)
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
		if holder != "" && holder != id { // the claim counts while that session's record exists
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
		s.kept = time.Now()
		if s.lease, err = l.store.Grant(ctx, leaseFor(s.promise)); err != nil {
			return false, err
		}
	}
	t.Writes = []Write{
		{Key: l.keys.session(s.contender.Session), Value: s.record(), Lease: s.lease},
		{Key: l.keys.claim(s.contender.ID), Value: encode(claimRecord{newHeader(), s.contender.Session}), Lease: s.lease},
	}
	r, err := l.commitHere(ctx, t)
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
	return encode(sessionRecord{header: newHeader(), Contender: s.contender, Promise: promiseOf(s.promise), Bids: s.bids, Holds: s.told(), Created: s.created})
}

// Beat writes the whole record, with the bids that were last given to any call. Of calls that are
// open at once, the one that commits last sets the bids, until the next.
func (s *session) Beat(ctx context.Context, bids ...lock.Bid) error {
	if err := lock.CheckBids(bids...); err != nil {
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

// write renews the record if it exists, which proves the store: see readOwn. If it does not, the
// session is lost, whatever store this is. If the write may change the line, no Watch shows an
// older one afterwards.
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
			s.mu.Lock()
			s.lost = true
			s.mu.Unlock()
			return lock.ErrLost
		case !errors.Is(err, ErrNoLease):
			return err
		}
		// The record outlived its lease, so it was not on it: somebody wrote it by hand. The next
		// try's transaction says whether it is still there.
		lease, err := s.locker.store.Grant(ctx, leaseFor(s.promise))
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.lease = lease
		s.mu.Unlock()
	}
}

// keep keeps the lease alive, with the first beat after a quarter of its time. No beat waits for
// it. A lease that is gone proves nothing: the next beat's transaction decides.
func (s *session) keep() {
	s.mu.Lock()
	now := time.Now()
	lease, due := s.lease, now.Sub(s.kept) >= leaseFor(s.promise)/4 && !s.keeping
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
			s.kept = now
		}
	})
}

func (s *session) Close(ctx context.Context) error {
	defer s.locker.look()
	if err := s.leave(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// leave releases the roles that this Locker's watch knows of and writes the session's end, in the
// same commit as the last of them: a second commit would delay the successors. If a reading then
// still shows a role, it was acquired unseen.
func (s *session) leave(ctx context.Context) error {
	l, own := s.locker, s.locker.keys.session(s.contender.Session)
	s.mu.Lock()
	e := ending{
		session: s.contender.Session, why: lock.End{By: s.contender.ID, Why: "closed"}, was: Record{Key: own, Revision: s.created, Lease: s.lease},
		contender: s.contender.ID, created: s.created, lease: s.lease, promise: s.promise, lost: s.lost,
	}
	s.mu.Unlock()
	if e.lost {
		e.was = Record{Key: own}
	}
	var known []Txn
	if p := l.picture(); p != nil {
		known = s.releases(p.roles)
	} else if found, err := l.readHere(ctx, l.keys.roles()); err != nil {
		return err
	} else {
		known = s.releases(newPicture(l.keys, found).roles)
	}
	e.with = known[max(0, len(known)-releasesAtOnce):]
	if err := l.releaseAll(ctx, known[:len(known)-len(e.with)]); err != nil {
		return err
	}
	if _, err := l.end(ctx, e); err != nil {
		return err
	}
	found, err := l.readHere(ctx, l.keys.roles())
	if err != nil {
		return err
	}
	return l.releaseAll(ctx, s.releases(newPicture(l.keys, found).roles))
}

// releases are the transactions that release those of the roles that are the session's.
func (s *session) releases(roles map[string]roleRecord) (mine []Txn) {
	for name, role := range roles {
		if role.held() && role.Holder.Session == s.contender.Session {
			mine = append(mine, s.locker.release(name, role))
		}
	}
	return mine
}

// releasesAtOnce is how many roles one transaction releases, beside a session's end and
// the store's identity: each has a guard and two writes.
const releasesAtOnce = (MaxOps - 8) / 3

// releaseAll commits releases. A role that others have changed since it was read is no longer
// ours to release.
func (l *locker) releaseAll(ctx context.Context, all []Txn) error {
	for len(all) > 0 {
		n := min(releasesAtOnce, len(all))
		r, err := l.commitHere(ctx, joined(all[:n]...))
		if err != nil {
			return err
		}
		if r.Committed {
			all = all[n:]
			continue
		}
		still := slices.DeleteFunc(all[:n:n], func(t Txn) bool {
			return r.Found.Get(t.Guards[0].Key).Revision != t.Guards[0].Revision
		})
		all = append(still, all[n:]...)
	}
	return nil
}

// joined is one transaction that does what all of them do, or nothing.
func joined(all ...Txn) (t Txn) {
	for _, one := range all {
		t.Guards, t.Writes = append(t.Guards, one.Guards...), append(t.Writes, one.Writes...)
	}
	return t
}
