package kv

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/lock"
)

// TryAcquire reads the role and takes it if nothing has changed since.
func (s *session) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	if err := lock.CheckName("role", role); err != nil {
		return 0, err
	}
	defer s.locker.look()
	t, err := s.acquire(ctx, role)
	if err != nil {
		return 0, fmt.Errorf("acquire: %w", err)
	}
	s.hold(role, t)
	return t, nil
}

// guess takes a role that this Locker's watch saw vacant, without reading it again: the guards
// say whether it still is. Token 0: it is not, and nothing was written; found is the current
// state of the role and of what the transaction guards, nil if nothing was asked.
func (s *session) guess(ctx context.Context, name string) (token lock.Token, found *View, err error) {
	p := s.locker.picture()
	if p == nil || p.bad[name] != nil || !p.pauses[name].IsZero() {
		return 0, nil, nil
	}
	last := p.roles[name]
	if _, ended := p.ends[last.Holder.Session]; last.held() && !ended {
		return 0, nil, nil
	}
	if last.revision == 0 && !p.alone(name, s.contender.Session) {
		return 0, nil, nil // see unrecorded
	}
	g := ground{max(p.view.Revision, last.revision, p.floor.revision), p.floor, p.state[s.locker.keys.pause(name)]}
	t, offset, err := s.take(g, name, last)
	if err != nil {
		return 0, nil, nil // what was seen may be old: read it, and answer from that
	}
	r, err := s.locker.store.Commit(ctx, t)
	if !r.Committed {
		return 0, &r.Found, err
	}
	return lock.Token(r.Revision + offset), nil, nil
}

func (s *session) acquire(ctx context.Context, name string) (lock.Token, error) {
	l := s.locker
	key, own, floor := l.keys.role(name), l.keys.session(s.contender.Session), l.keys.floor()
	t, seen, err := s.guess(ctx, name)
	if t != 0 || err != nil {
		return t, err
	}
	if seen == nil {
		read, err := l.readOwn(ctx, own, key, floor, l.keys.pause(name))
		if err != nil {
			return 0, err
		}
		seen = &read
	}
	return s.takeAsFound(ctx, name, *seen)
}

// takeAsFound takes a role if nothing has changed since it was found.
func (s *session) takeAsFound(ctx context.Context, name string, found View) (lock.Token, error) {
	l := s.locker
	key := l.keys.role(name)
	last, mine, err := s.lookAt(found, key)
	if err != nil || mine {
		return last.token(), err
	}
	if !last.held() {
		if err := l.paused(name, found, lock.ErrMoved); err != nil {
			return 0, err
		}
	}
	g, err := l.groundOf(name, found)
	if err == nil && last.revision == 0 {
		err = s.unrecorded(ctx, name)
	}
	if err != nil {
		return 0, err
	}
	t, offset, err := s.take(g, name, last)
	if err != nil {
		return 0, err
	}
	r, err := l.store.Commit(ctx, t)
	if err != nil {
		return 0, err
	}
	if r.Committed {
		return lock.Token(r.Revision + offset), nil
	}
	now, mine, err := s.lookAt(r.Found, key)
	switch {
	case err != nil || mine:
		return now.token(), err
	case now.revision != last.revision:
		return 0, lock.ErrMoved
	}
	if !last.held() || r.Found.Get(l.keys.end(last.Holder.Session)).Revision != 0 {
		if err := l.paused(name, r.Found, lock.ErrMoved); err != nil {
			return 0, err
		}
	}
	if changed, _ := l.groundOf(name, r.Found); changed.floor.revision != g.floor.revision || changed.pause != g.pause {
		return s.acquire(ctx, name) // the term is the one that was read, and what is unreadable is said then
	}
	return 0, &lock.HeldError{Name: name, Holder: now.holder(), Token: now.token()}
}

// take is the transaction that takes a role after the last term, if that is over and this session
// is in line.
func (s *session) take(g ground, name string, last roleRecord) (t Txn, offset uint64, err error) {
	l := s.locker
	s.mu.Lock()
	holder := lock.Member{Contender: s.contender, Promise: s.promise, Priority: priorities(s.bids)[name]}
	s.mu.Unlock()
	t, offset, err = l.begin(g, name, last, holder, 0)
	t.Guards = append(t.Guards, Guard{Key: l.keys.session(s.contender.Session), Exists: true})
	if last.held() { // so the end of its holder must be written
		t.Guards = append(t.Guards, Guard{Key: l.keys.end(last.Holder.Session), Exists: true})
	}
	return t, offset, err
}

// lookAt returns the role's last term as found, and whether it is this session's.
func (s *session) lookAt(found View, key string) (role roleRecord, mine bool, err error) {
	if found.Get(s.locker.keys.session(s.contender.Session)).Revision == 0 {
		return roleRecord{}, false, lock.ErrLost
	}
	role, err = decodeRole(found.Get(key))
	return role, role.held() && role.Holder.Session == s.contender.Session, err
}

// A ground is what the next term of a role depends on, beside the last one, as it was found.
type ground struct {
	now   uint64 // the store's revision
	floor floorRecord
	pause uint64 // the revision of the record that says that the role is not paused; 0: there is none
}

func (l *locker) groundOf(role string, found View) (ground, error) {
	floor, err := decodeFloor(found.Get(l.keys.floor()))
	g := ground{now: found.Revision, floor: floor}
	if pause := found.Get(l.keys.pause(role)); decodePause(pause).IsZero() {
		g.pause = pause.Revision
	}
	return g, err
}

// begin is the transaction that begins a term of holder after the last one, if that and the
// ground are still as they were found. The term's token is the revision of its commit plus
// offset. previous names the term that a handoff ends.
func (l *locker) begin(g ground, name string, last roleRecord, holder lock.Member, previous lock.Token) (t Txn, offset uint64, err error) {
	offset = max(g.floor.Offset, last.Offset) // the last one's too, because the floor's key may have been deleted
	if uint64(max(last.token(), g.floor.Floor)) > g.now+offset {
		return Txn{}, 0, fmt.Errorf("%w: role %q had token %d, the next one would be %d", lock.ErrRolledBack, name, last.token(), g.now+offset+1)
	}
	next := roleRecord{
		header: newHeader(), Holder: holder.Contender, Promise: promiseOf(holder.Promise), Priority: holder.Priority,
		Offset: offset, Previous: previous,
	}
	next.Since = next.At
	return Txn{
		Guards: []Guard{
			{Key: l.keys.role(name), Revision: last.revision},
			{Key: l.keys.floor(), Revision: g.floor.revision},
			{Key: l.keys.pause(name), Revision: g.pause},
		},
		Writes: []Write{{Key: l.keys.role(name), Value: encode(next)}, {Key: l.keys.wish(name)}},
	}, offset, nil
}

func (s *session) Release(ctx context.Context, role string, t lock.Token) error {
	if err := lock.CheckName("role", role); err != nil {
		return err
	}
	defer s.locker.look()
	err := s.release(ctx, role, t)
	if s.drop(role, t, err); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

// release ends a term as this Locker's watch knows it, and reads the role only if the watch does
// not know it.
func (s *session) release(ctx context.Context, name string, t lock.Token) error {
	l, key := s.locker, s.locker.keys.role(name)
	var last roleRecord
	var err error
	if p := l.picture(); p != nil {
		last = p.roles[name]
	}
	if !last.held() || last.token() != t {
		var found View
		if found, err = l.readHere(ctx, key); err == nil {
			last, err = decodeRole(found.Get(key))
		}
	}
	for err == nil {
		switch {
		case last.revision == 0: // somebody deleted it: contenders that had seen it wait for this
			last = roleRecord{Holder: s.contender, Promise: promiseOf(s.promise), Token: t}
		case !last.held() || last.token() != t:
			return nil
		case last.Holder.Session != s.contender.Session:
			return l.stands(ctx, name, last)
		}
		var r Result
		if r, err = l.commitHere(ctx, l.release(name, last)); r.Committed {
			return nil
		}
		if err == nil {
			last, err = decodeRole(r.Found.Get(key))
		}
	}
	return err
}

// stands returns nil if the end of the role's holder is written, and otherwise who the holder is.
func (l *locker) stands(ctx context.Context, name string, last roleRecord) error {
	end := l.keys.end(last.Holder.Session)
	found, err := l.store.Read(ctx, end)
	if err != nil || found.Get(end).Revision != 0 {
		return err
	}
	return &lock.HeldError{Name: name, Holder: last.holder(), Token: last.token()}
}

// release is the transaction that ends a term, if it still goes on.
func (l *locker) release(name string, last roleRecord) Txn {
	over := last
	over.header, over.Token, over.Over = newHeader(), last.token(), "released"
	return Txn{
		Guards: []Guard{{Key: l.keys.role(name), Revision: last.revision}},
		Writes: []Write{{Key: l.keys.role(name), Value: encode(over)}, {Key: l.keys.wish(name)}},
	}
}

func (s *session) Handoff(ctx context.Context, role string, t lock.Token, to lock.SessionID) error {
	if err := lock.CheckName("role", role); err != nil {
		return err
	}
	if err := lock.CheckName("session", string(to)); err != nil {
		return err
	}
	defer s.locker.look()
	err := s.handoff(ctx, role, t, to)
	if s.drop(role, t, err); err != nil {
		return fmt.Errorf("handoff: %w", err)
	}
	return nil
}

func (s *session) handoff(ctx context.Context, name string, t lock.Token, to lock.SessionID) error {
	l, id := s.locker, s.contender.Session
	key, own, end, successor, floor := l.keys.role(name), l.keys.session(id), l.keys.end(id), l.keys.session(to), l.keys.floor()
	found, err := l.readOwn(ctx, own, key, end, successor, floor, l.keys.pause(name))
	for err == nil {
		var last roleRecord
		last, err = decodeRole(found.Get(key))
		switch {
		case err != nil:
			return err
		case t != 0 && last.Previous == t && last.Holder.Session == to: // an earlier try of this very handoff
			return nil
		case !last.held() || last.token() != t || last.Holder.Session != id || found.Get(end).Revision != 0:
			return lock.ErrMoved
		case found.Get(own).Revision == 0:
			return lock.ErrLost
		case found.Get(successor).Revision == 0:
			return lock.ErrGone
		}
		if err := l.paused(name, found, lock.ErrGone); err != nil {
			return err
		}
		next := decodeSession(to, found.Get(successor))
		if next.Contender.ID == "" {
			return fmt.Errorf("the record of session %s is not readable until its next beat", to)
		}
		var begin Txn
		var g ground
		if g, err = l.groundOf(name, found); err != nil {
			return err
		}
		if begin, _, err = l.begin(g, name, last, next.member(name), t); err != nil {
			return err
		}
		begin.Guards = append(begin.Guards, Guard{Key: own, Exists: true}, Guard{Key: end})
		if to != id {
			begin.Guards = append(begin.Guards, Guard{Key: successor, Exists: true})
		}
		var r Result
		if r, err = l.store.Commit(ctx, begin); r.Committed {
			return nil
		}
		found = r.Found
	}
	return err
}
