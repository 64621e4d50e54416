package kv

import (
	"context"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// MaxAdopted is how many identities a store answers to besides its own: the latest.
const maxAdopted = 16

// An identityRecord is the store's identity. It is drawn once; Adopted are those that it
// answers to besides, the latest last.
type identityRecord struct {
	header
	Identity string
	Adopted  []string `json:",omitempty"`

	revision uint64 // 0: the store has none
}

// A nameRecord says that the store answers to the identity in its key.
type nameRecord struct{ header }

// is reports whether the store answers to an identity.
func (r identityRecord) is(identity string) bool {
	return identity == r.Identity || slices.Contains(r.Adopted, identity)
}

func decodeIdentity(r Record) (identityRecord, error) {
	i, err := decode[identityRecord](r)
	if err == nil && r.Revision != 0 && i.Identity == "" {
		err = foreign(r.Key)
	}
	i.revision = r.Revision
	return i, err
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
		next.header = newHeader()
		t := Txn{
			Guards: []Guard{{Key: l.keys.identity(), Revision: was.revision}},
			Writes: []Write{{Key: l.keys.name(identity), Value: encode(nameRecord{newHeader()})}},
		}
		switch {
		case was.Identity == "":
			next.Identity = identity
		case !was.is(identity):
			next.Adopted = append(slices.Clone(was.Adopted), identity)
		}
		for len(next.Adopted) > maxAdopted {
			t.Writes = append(t.Writes, Write{Key: l.keys.name(next.Adopted[0])})
			next.Adopted = next.Adopted[1:]
		}
		t.Writes = append(t.Writes, Write{Key: l.keys.identity(), Value: encode(next)})
		if r, err := l.store.Commit(ctx, t); err != nil || r.Committed {
			return err
		}
	}
}
