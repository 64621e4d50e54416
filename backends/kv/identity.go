package kv

import (
	"context"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// maxAdopted is how many identities a store answers to in addition to its own: the latest.
const maxAdopted = 16

// An identityRecord is the store's identity. It is drawn once; the store also answers to those in
// Adopted, the latest last.
type identityRecord struct {
	header
	Identity string
	Adopted  []string `json:",omitempty"`

	revision uint64 // 0: the store has none
}

// A nameRecord says that the store answers to the identity in its key.
type nameRecord struct{ header }

// renewed is the header of the next version of the record, of at least that format.
func (r identityRecord) renewed(format int) header {
	h := newHeader()
	h.Format = max(r.Format, format)
	return h
}

// is reports whether the store answers to an identity.
func (r identityRecord) is(identity string) bool {
	return identity == r.Identity || slices.Contains(r.Adopted, identity)
}

func decodeIdentity(r Record) (identityRecord, error) {
	i, err := decodeUpTo[identityRecord](r, heeded)
	if err == nil && r.Revision != 0 && i.Identity == "" {
		err = foreign(r.Key)
	}
	i.revision = r.Revision
	return i, err
}

// holds is the identity that this Locker holds to; "": it has seen none.
func (l *locker) holds() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// accept returns an error if v, which includes the identity, was read from another store than the
// one that was held to before the reading. A Locker that accepts the store by an adopted name
// holds to the store's own identity from then on: the store that was replaced is now another one.
func (l *locker) accept(held string, v View) error {
	found, err := decodeIdentity(v.Get(l.keys.identity()))
	if err != nil {
		return err
	}
	if held != "" && !found.is(held) {
		if s, ok := l.bare.(interface{ Elsewhere() }); ok { // one of several endpoints may be a wrong one
			s.Elsewhere()
		}
		return &lock.OtherStoreError{Seen: held, Found: found.Identity}
	}
	l.hold(held, found.Identity)
	return nil
}

// hold holds to an identity, unless another call has meanwhile held to one.
func (l *locker) hold(before, identity string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == before {
		l.held = identity
	}
}

// readHere reads keys and the identity, in the store that this Locker holds to.
func (l *locker) readHere(ctx context.Context, keys ...string) (View, error) {
	held := l.holds()
	v, err := l.store.Read(ctx, append(keys[:len(keys):len(keys)], l.keys.identity())...)
	if err != nil {
		return View{}, err
	}
	return v, l.accept(held, v)
}

// readOwn reads keys with a session's own record. If that is there, nothing else need be
// compared, by a call that reads or by one that writes: its ID is a nonce, and is only in the
// store that the session was registered in, and in copies of it, which have its identity too. If
// it is missing the session may be lost, or this is another store.
func (l *locker) readOwn(ctx context.Context, own string, keys ...string) (View, error) {
	held := l.holds()
	v, err := l.store.Read(ctx, append(keys, own, l.keys.identity())...)
	if err != nil {
		return View{}, err
	}
	if v.Get(own).Revision == 0 {
		err = l.accept(held, v)
	}
	return v, err
}

// commitHere commits t in the store that this Locker holds to, or does nothing. A store that has
// no identity gets one in the same step. It compares that the key of the name exists: a revision
// may be the same in two stores.
func (l *locker) commitHere(ctx context.Context, t Txn) (Result, error) {
	held := l.holds()
	here := Txn{Guards: []Guard{{Key: l.keys.identity(), Exists: true}, {Key: l.keys.name(held), Exists: true}}}
	if held == "" {
		here = l.drawn()
	}
	r, err := l.store.Commit(ctx, joined(t, here))
	switch {
	case err != nil:
		return Result{}, err
	case r.Committed: // if nothing was held to, this identity is now
		l.hold("", l.draw)
	case !r.Committed:
		err = l.accept(held, r.Found)
		if err == nil && held != "" && r.Found.Get(l.keys.name(held)).Revision == 0 { // somebody deleted it
			err = &lock.OtherStoreError{Seen: held, Found: held}
		}
	}
	return r, err
}

// drawn is the transaction that gives a store its identity, if it has none.
func (l *locker) drawn() Txn {
	return Txn{
		Guards: []Guard{{Key: l.keys.identity()}},
		Writes: []Write{
			{Key: l.keys.identity(), Value: encode(identityRecord{header: newHeader(), Identity: l.draw})},
			{Key: l.keys.name(l.draw), Value: encode(nameRecord{newHeader()})},
		},
	}
}

func (l *locker) Adopt(ctx context.Context, identity string) error {
	if err := lock.CheckName("identity", identity); err != nil {
		return err
	}
	defer l.look()
	if err := l.adopt(ctx, identity); err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	return nil
}

func (l *locker) adopt(ctx context.Context, identity string) error {
	for {
		found, err := l.store.Read(ctx, l.keys.identity(), l.keys.name(identity))
		if err != nil {
			return err
		}
		was, err := decodeIdentity(found.Get(l.keys.identity()))
		if err != nil {
			return err
		}
		if was.is(identity) && found.Get(l.keys.name(identity)).Revision != 0 {
			return nil
		}
		next := was
		next.header = was.renewed(format)
		t := Txn{
			Guards: []Guard{{Key: l.keys.identity(), Revision: was.revision}},
			Writes: []Write{{Key: l.keys.name(identity), Value: encode(nameRecord{newHeader()})}},
		}
		if was.Identity == "" { // one of its own: it is not the store that it replaces
			next.Identity = l.draw
			t.Writes = append(t.Writes, Write{Key: l.keys.name(l.draw), Value: encode(nameRecord{newHeader()})})
		}
		if !was.is(identity) {
			next.Adopted = append(slices.Clone(was.Adopted), identity)
		}
		for len(next.Adopted) > maxAdopted {
			t.Writes = append(t.Writes, Write{Key: l.keys.name(next.Adopted[0])})
			next.Adopted = next.Adopted[1:]
		}
		t.Writes = append(t.Writes, Write{Key: l.keys.identity(), Value: encode(next)})
		if _, err := l.store.Commit(ctx, t); err != nil { // else look again
			return err
		}
	}
}
