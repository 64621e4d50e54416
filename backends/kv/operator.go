package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/understudy-ha/understudy/lock"
)

var _ lock.Operator = (*locker)(nil)

// paused returns err, and who paused the role, if it is paused.
func (l *locker) paused(role string, found View, err error) error {
	if p := decodePause(found.Get(l.keys.pause(role))); !p.IsZero() {
		return fmt.Errorf("role %q is paused by %q: %w", role, p.By, err)
	}
	return nil
}

func (l *locker) Pause(ctx context.Context, role string, p lock.Pause) error {
	if err := errors.Join(lock.CheckName("role", role), lock.CheckPause(p)); err != nil {
		return err
	}
	p.At, p.Until = p.At.UTC().Round(0), p.Until.UTC().Round(0)
	defer l.look()
	if err := l.pause(ctx, role, p, nil); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	return nil
}

func (l *locker) Resume(ctx context.Context, role string, seen lock.Pause) error {
	if err := errors.Join(lock.CheckName("role", role), lock.CheckPause(seen)); err != nil {
		return err
	}
	defer l.look()
	if err := l.pause(ctx, role, lock.Pause{}, &seen); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

// pause writes the pause, in place of the one that was seen, if one is given. In the same step it withdraws
// the request about the term, and makes sure that no program overlooks the pause because it does not know
// pauses. A pause that is over is left as an empty record: a change is seen more surely than an absence.
func (l *locker) pause(ctx context.Context, role string, p lock.Pause, seen *lock.Pause) error {
	key, identity := l.keys.pause(role), l.keys.identity()
	found, err := l.readHere(ctx, key)
	if err == nil && !p.IsZero() && found.Get(identity).Revision == 0 { // the identity is drawn in a step of its own
		_, err = l.commitHere(ctx, Txn{})
	}
	if err != nil {
		return err
	}
	return l.change(ctx, key, found, func(found View) (t Txn, err error) {
		was, bad := decode[pauseRecord](found.Get(key))
		store, foreign := decodeIdentity(found.Get(identity))
		if err := errors.Join(bad, foreign); err != nil || p.IsZero() && was.Pause.IsZero() {
			return Txn{}, err
		}
		if seen != nil && !was.Pause.Same(*seen) {
			return Txn{}, fmt.Errorf("another pause is in force, by %q: %w", was.Pause.By, lock.ErrMoved)
		}
		t.Writes = []Write{{Key: key, Value: encode(pauseRecord{newHeader(), p})}, {Key: l.keys.wish(role)}}
		if store.Format < heeded {
			store.header = store.renewed(heeded)
			t.Guards = append(t.Guards, Guard{Key: identity, Revision: store.revision})
			t.Writes = append(t.Writes, Write{Key: identity, Value: encode(store)})
		}
		return t, nil
	})
}

func (l *locker) Configure(ctx context.Context, id string, s lock.Settings) error {
	if err := errors.Join(lock.CheckName("id", id), lock.CheckSettings(s)); err != nil {
		return err
	}
	s.At, s.Priorities = s.At.UTC().Round(0), maps.Clone(s.Priorities)
	defer l.look()
	key := l.keys.setting(id)
	err := l.rewrite(ctx, key, func(found View) ([]byte, error) {
		was, err := decode[settingsRecord](found.Get(key))
		if s.IsZero() && was.Settings.IsZero() {
			return found.Get(key).Value, err
		}
		return encode(settingsRecord{newHeader(), s}), err
	})
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

func (l *locker) Configured(ctx context.Context) (map[string]lock.Settings, error) {
	found, err := l.readHere(ctx, l.keys.settings())
	if err != nil {
		return nil, fmt.Errorf("configured: %w", err)
	}
	return newPicture(l.keys, found).settings, nil
}

func (l *locker) Record(ctx context.Context, role string, e lock.Event) error {
	if err := errors.Join(lock.CheckName("role", role), lock.CheckEvent(e)); err != nil {
		return err
	}
	e.At = e.At.UTC().Round(0)
	key := l.keys.history(role)
	err := l.rewrite(ctx, key, func(found View) ([]byte, error) {
		was, err := decode[historyRecord](found.Get(key))
		next, added := lock.AddEvent(was.Events, e)
		if !added {
			return found.Get(key).Value, err
		}
		return encode(historyRecord{newHeader(), next}), err
	})
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

func (l *locker) History(ctx context.Context, role string) ([]lock.Event, error) {
	if err := lock.CheckName("role", role); err != nil {
		return nil, err
	}
	key := l.keys.history(role)
	found, err := l.readHere(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	history, err := decode[historyRecord](found.Get(key))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return history.Events, nil
}

func (l *locker) Fence(ctx context.Context, role string, f lock.Fence) error {
	if err := errors.Join(lock.CheckName("role", role), lock.CheckFence(f)); err != nil {
		return err
	}
	f.At = f.At.UTC().Round(0)
	defer l.look()
	if err := l.fence(ctx, role, f); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return nil
}

// fence hangs the intent on the lease of the session that it is about, which outlives its promise.
func (l *locker) fence(ctx context.Context, name string, f lock.Fence) error {
	key := l.keys.role(name)
	found, err := l.readHere(ctx, key)
	role, foreign := decodeRole(found.Get(key))
	switch {
	case err != nil || foreign != nil:
		return errors.Join(err, foreign)
	case !role.held() || role.token() != f.Token:
		return lock.ErrMoved
	}
	own, fence := l.keys.session(role.Holder.Session), l.keys.fence(role.Holder.Session)
	found, err = l.readHere(ctx, own, fence)
	for err == nil {
		stands, foreign := decode[fenceRecord](found.Get(fence))
		switch {
		case foreign != nil:
			return foreign
		case found.Get(own).Revision != uint64(f.Beat):
			return lock.ErrMoved
		case stands.Fence.Same(f):
			return nil
		case stands.Fence.Beat == f.Beat:
			return lock.ErrMoved
		}
		var r Result
		r, err = l.commitHere(ctx, Txn{
			Guards: []Guard{
				{Key: key, Revision: role.revision},
				{Key: own, Revision: uint64(f.Beat)},
				{Key: fence, Revision: found.Get(fence).Revision},
			},
			Writes: []Write{{Key: fence, Value: encode(fenceRecord{newHeader(), f}), Lease: found.Get(own).Lease}},
		})
		switch {
		case errors.Is(err, ErrNoLease): // its record goes, and that is a beat
			return lock.ErrMoved
		case err != nil || r.Committed:
			return err
		case r.Found.Get(key).Revision != role.revision:
			return lock.ErrMoved
		}
		found, err = l.readHere(ctx, own, fence)
	}
	return err
}

// rewrite replaces a key, as it was found, by what next makes of it, if nothing has changed
// since. If that is the value already, nothing is written.
func (l *locker) rewrite(ctx context.Context, key string, next func(found View) ([]byte, error)) error {
	found, err := l.readHere(ctx, key)
	if err != nil {
		return err
	}
	return l.change(ctx, key, found, func(found View) (Txn, error) {
		value, err := next(found)
		if err != nil || bytes.Equal(value, found.Get(key).Value) {
			return Txn{}, err
		}
		return Txn{Writes: []Write{{Key: key, Value: value}}}, nil
	})
}

// change commits what next makes of a key, as it was found, if it has not changed since. It
// commits nothing if next writes nothing, as where it fails.
func (l *locker) change(ctx context.Context, key string, found View, next func(found View) (Txn, error)) error {
	for {
		t, err := next(found)
		if len(t.Writes) == 0 {
			return err
		}
		t.Guards = append(t.Guards, Guard{Key: key, Revision: found.Get(key).Revision})
		r, err := l.commitHere(ctx, t)
		if err != nil || r.Committed {
			return err
		}
		found = r.Found
	}
}
