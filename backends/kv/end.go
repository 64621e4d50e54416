package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

func (l *locker) Evict(ctx context.Context, id lock.SessionID, seen lock.Beat, why lock.End) error {
	if err := errors.Join(lock.CheckName("session", string(id)), lock.CheckEnd(why)); err != nil {
		return err
	}
	defer l.look()
	known := l.remembered()
	e := ending{session: id, why: why, with: l.termsOf(known, id, why)}
	if seen != lock.AnyBeat {
		e.moved = func(r Record) bool { return lock.Beat(r.Revision) != seen }
	} else {
		e.was = known.record(l.keys.session(id))
	}
	ours, err := l.end(ctx, e)
	if err != nil {
		return fmt.Errorf("evict: %w", err)
	}
	if ours {
		l.endTerms(ctx)
	}
	return nil
}

// termsOf are the transactions that write a session's end into the records of the roles that it
// is known to hold, which outlive the end itself. In one step with the end they delay no
// successor: the end and the record are seen together. If the session holds more roles than one
// transaction takes, the rest has only the end itself while there is a line for them: the next in
// line takes them long before the end is swept.
func (l *locker) termsOf(known *picture, id lock.SessionID, why lock.End) (all []Txn) {
	if known == nil {
		return nil
	}
	for name, role := range known.roles {
		if role.held() && role.Holder.Session == id {
			all = append(all, l.endTerm(name, role, why))
		}
	}
	return all[:min(len(all), releasesAtOnce)]
}

// endTerms writes the ends into the records of their roles, for roles without a line: a contender
// in line takes the role in a moment, and must not be held up. The sessions' ends are already
// written, so a failure costs no more than that they may be forgotten in time.
func (l *locker) endTerms(ctx context.Context) {
	found, err := l.readHere(ctx, l.keys.state(), l.keys.sessions())
	if err != nil {
		return
	}
	var all []Txn
	p := newPicture(l.keys, found)
	for name, role := range p.roles {
		if end, ended := p.ends[role.Holder.Session]; ended && role.held() && len(p.standing(name).Line) == 0 {
			all = append(all, l.endTerm(name, role, end))
		}
	}
	_ = l.releaseAll(ctx, all)
}

// endTerm is the transaction that writes the end of the holder's session into a role's record.
func (l *locker) endTerm(name string, last roleRecord, why lock.End) Txn {
	over := last
	over.header, over.Token, over.End = newHeader(), last.token(), why
	return Txn{
		Guards: []Guard{{Key: l.keys.role(name), Revision: last.revision}},
		Writes: []Write{{Key: l.keys.role(name), Value: encode(over)}},
	}
}

// An ending is what is written when a session is over.
type ending struct {
	session lock.SessionID
	why     lock.End
	moved   func(session Record) bool // whether the current record forbids it; nil: never
	was     Record                    // the session's record as read some time ago, if it was

	// Used if the session's record is missing and cannot tell them.
	contender string
	created   uint64
	lease     Lease
	promise   lock.Promise

	gone Lease // a lease that is gone
	lost bool  // its owner knows that the record is gone
	with []Txn // done in the same step, or not at all if anything has changed
}

// end writes a session's end in place of its record and of its claim, in one step. It returns nil
// if the end is already written; ours: by the same call, now or in an earlier try. A remembered
// record saves the reading: the guards say whether it is still there.
//
// The end is on the same lease as the record was, so that no registration which is still in
// flight can outlive it, and gets all of its time: the lease is renewed while the end is written.
// If that fails the end lasts for what is left of the lease.
func (l *locker) end(ctx context.Context, e ending) (ours bool, err error) {
	own, end := l.keys.session(e.session), l.keys.end(e.session)
	found := View{Records: []Record{e.was}}
	if e.was.Revision == 0 && !e.lost {
		found, err = l.readHere(ctx, own, end)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the renewal of a lease that nobody needs
	var kept keeping
	for keepClaim := false; err == nil; {
		if found.Get(end).Revision != 0 {
			return decodeEnd(found.Get(end)) == e.why, nil
		}
		was := found.Get(own)
		if e.moved != nil && e.moved(was) {
			return false, lock.ErrMoved
		}
		if e.recall(was); e.lease == "" {
			if e.lease, err = l.store.Grant(ctx, leaseFor(e.promise)); err != nil {
				return false, err
			}
		} else if kept.lease != e.lease {
			kept = l.keep(ctx, e.lease)
		}
		var r Result
		r, err = l.commitHere(ctx, joined(append(e.with, l.over(e, was.Revision, keepClaim))...))
		switch {
		case errors.Is(err, ErrNoLease):
			e.gone, e.lease, err = e.lease, "", nil
		case !r.Committed:
			e.with = nil
			keepClaim = r.Found.Get(l.keys.claim(e.contender)).Revision != e.created
			found = r.Found
		default:
			if kept.lease != e.lease || !kept.gone(ctx) {
				return true, nil
			}
			e.gone, e.lease = e.lease, "" // the end went with it
			found, err = l.readHere(ctx, own, end)
		}
	}
	return false, err
}

// A keeping is the renewal of a lease beside other calls.
type keeping struct {
	lease Lease
	done  chan error // of size one
}

func (l *locker) keep(ctx context.Context, lease Lease) keeping {
	k := keeping{lease, make(chan error, 1)}
	l.background(func(context.Context) { k.done <- l.store.Keep(ctx, lease) })
	return k
}

// gone reports whether the lease turned out to be gone.
func (k keeping) gone(ctx context.Context) bool {
	select {
	case err := <-k.done:
		return errors.Is(err, ErrNoLease)
	case <-ctx.Done(): // also if the locker was closed
		return false
	}
}

// over is the transaction that writes e if the session's record is at a revision; 0: if it is
// missing.
func (l *locker) over(e ending, revision uint64, keepClaim bool) Txn {
	own, end, claim := l.keys.session(e.session), l.keys.end(e.session), l.keys.claim(e.contender)
	t := Txn{
		Guards: []Guard{{Key: end}, {Key: own, Revision: revision}},
		Writes: []Write{{Key: end, Value: encode(endRecord{newHeader(), e.why}), Lease: e.lease}, {Key: own}},
	}
	if e.moved == nil && revision != 0 { // any beat
		t.Guards[1] = Guard{Key: own, Exists: true}
	}
	// The claim was made with the record, and is this session's if its revision has not changed.
	if e.contender != "" && !keepClaim {
		t.Guards = append(t.Guards, Guard{Key: claim, Revision: e.created})
		t.Writes = append(t.Writes, Write{Key: claim})
	}
	return t
}

// recall takes what the session's end needs from its record.
func (e *ending) recall(r Record) {
	if r.Revision == 0 {
		return
	}
	if r.Lease != e.gone {
		e.lease = r.Lease
	}
	if s := decodeSession(e.session, r); s.Contender.ID != "" {
		e.contender, e.created, e.promise = s.Contender.ID, s.created(), s.Promise.lock()
	}
}

// leaseFor is how long the store keeps a record that nobody renews. It is the janitor, not the
// judge: no decision depends on it.
func leaseFor(p lock.Promise) time.Duration { return max(time.Minute, 2*p.TTL) }
