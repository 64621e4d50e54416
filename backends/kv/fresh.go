package kv

import (
	"context"
	"slices"
)

// An ack is what a call of this Locker wrote or found. No Watch of the Locker shows anything
// older after that: neither what was published before, nor what is still in flight.
type ack struct {
	revision uint64 // of the key
	asked    uint64 // a reading that began after this request is newer, too
}

// An acknowledging store is the store as the calls of a Locker use it: it notes what everybody
// must hear of. A change of the line is noted where it is made. A beat is not: otherwise nothing
// could be shown before it was read.
type acknowledging struct {
	Store
	locker *locker
}

func (a acknowledging) Read(ctx context.Context, keys ...string) (View, error) {
	v, err := a.Store.Read(ctx, keys...)
	a.note(v.Records)
	return v, err
}

func (a acknowledging) Commit(ctx context.Context, t Txn) (Result, error) {
	r, err := a.Store.Commit(ctx, t)
	all := r.Found.Records
	for _, w := range t.Writes {
		if r.Committed && w.Value != nil {
			all = append(all, Record{Key: w.Key, Revision: r.Revision})
		}
	}
	a.note(all)
	return r, err
}

func (a acknowledging) note(all []Record) {
	for _, r := range all {
		if a.locker.keys.inState(r.Key) {
			a.locker.acknowledge(r)
		}
	}
}

// acknowledge keeps every Watch of this Locker from showing anything older than a record.
func (l *locker) acknowledge(r Record) {
	l.mu.Lock()
	f := l.follower
	l.mu.Unlock()
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	role := l.keys.concerned(r.Key)
	if f.acks[role] == nil {
		f.acks[role] = map[string]ack{}
	}
	if r.Revision > f.acks[role][r.Key].revision { // what was found may be older than a later write
		f.acks[role][r.Key] = ack{r.Revision, f.asked}
	}
}

// fresh returns the roles for which n is not older than what was acknowledged. The others are
// shown with later news: each call requests a reading when it is done.
func (f *follower) fresh(n news, roles []string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	older := func(of string) bool {
		for key, a := range f.acks[of] {
			if n.answered < a.asked && n.picture.revision(key) < a.revision {
				return true
			}
		}
		return false
	}
	if len(f.acks) == 0 {
		return roles
	}
	if older("") {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(roles), older)
}

// forget drops the acks that a reading has answered.
func (f *follower) forget(answered uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for role, acks := range f.acks {
		for key, a := range acks {
			if a.asked <= answered {
				delete(acks, key)
			}
		}
		if len(acks) == 0 {
			delete(f.acks, role)
		}
	}
}
