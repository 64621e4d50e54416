package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// errChanged means that the log was changed while it was read: look again.
var errChanged = errors.New("the log was compacted meanwhile")

// step reads the head and the next entries, and applies them. all: everything is applied that was
// there when step began.
func (l *Log[M]) step(ctx context.Context) (all bool, err error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	now := l.replica // only the holder of turn changes it
	began := l.options.Now()
	names := []string{l.keys.head()}
	for i := range l.limits.Keys - 1 {
		names = append(names, l.keys.entry(now.at+1+uint64(i)))
	}
	found, err := l.read(ctx, names...)
	if err != nil {
		return false, err
	}
	raw := found[l.keys.head()]
	h, err := decodeHead(l.keys.head(), raw)
	if err != nil {
		return false, err
	}
	if now.broken != nil || l.elsewhere(now, h) {
		return false, l.load(ctx, h, raw)
	}
	l.heed(l.skips(h))
	for position := now.at + 1; position <= h.Last; position++ {
		key := l.keys.entry(position)
		value, ok := found[key]
		if !ok && position-now.at >= uint64(l.limits.Keys) {
			return false, nil // there are more
		}
		if !ok {
			return false, lock.Permanent(fmt.Errorf("key %q is missing, which the log's head names: restore it from a backup of the store", key))
		}
		e, err := decodeEntry(key, value)
		if at := l.replica; err == nil && e.After != at.link { // of another history than ours
			if at.at == h.Snapshot.Position && at.link == h.Snapshot.Link {
				return false, lock.Permanent(fmt.Errorf("key %q does not follow the entry before it: restore it from a backup of the store", key))
			}
			return false, l.load(ctx, h, raw)
		}
		if err == nil {
			err = l.apply(position, e)
		}
		if err != nil || ctx.Err() != nil {
			return false, err
		}
	}
	l.know(h, raw, began)
	return true, nil
}

// know notes that everything is applied that was there at a moment.
func (l *Log[M]) know(h head, raw []byte, at coordinator.Instant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.replica
	r.head, r.raw, r.seen, r.loaded = h, raw, at, true
	l.tellAge()
}

// heed skips commands from now on.
func (l *Log[M]) heed(skip []Command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replica.skip = skip
}

// elsewhere reports whether the replica is not on the way to a head: it is too far behind, the store
// was put back, or what it has applied is to be skipped.
func (l *Log[M]) elsewhere(r replica[M], h head) bool {
	changed := func(c Command) bool {
		return c.Position <= r.at && c.Position > h.Snapshot.Position && slices.Contains(r.skip, c) != slices.Contains(l.skips(h), c)
	}
	return h.First > r.at+1 || h.Last < r.at || h.Last == r.at && h.Link != r.link ||
		slices.ContainsFunc(l.skips(h), changed) || slices.ContainsFunc(r.skip, changed)
}

// skips are the commands to skip: those of the log, and an operator's.
func (l *Log[M]) skips(h head) []Command {
	all := slices.Clone(h.Skip)
	for _, c := range l.options.Skip {
		if c.Position > h.Snapshot.Position && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// apply applies an entry, which is the next one.
func (l *Log[M]) apply(position uint64, e entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.replica
	for i, command := range e.commands {
		c := Command{position, i}
		if slices.Contains(r.skip, c) {
			continue
		}
		if err := safely(l.role, c, func() error { r.machine.Apply(command); return nil }); err != nil {
			r.broken = err
			l.tellAge()
			return err
		}
	}
	r.at, r.link = position, e.Nonce
	return nil
}

// load replaces the replica by a new one, from the snapshot.
func (l *Log[M]) load(ctx context.Context, h head, raw []byte) error {
	if h.First > h.Snapshot.Position+1 {
		return lock.Permanent(fmt.Errorf("the log of role %q begins with entry %d, and its snapshot ends with %d: restore it from a backup of the store", l.role, h.First, h.Snapshot.Position))
	}
	next := replica[M]{machine: l.fresh(), head: h, raw: raw, skip: l.skips(h)}
	if s := h.Snapshot; s.Position > 0 {
		data, err := l.image(ctx, s)
		if err != nil {
			return err
		}
		restore := func() error { return next.machine.Restore(&reader{ctx, bytes.NewReader(data)}) }
		if err := safely(l.role, Command{}, restore); err != nil && ctx.Err() == nil {
			return lock.Permanent(fmt.Errorf("restore the snapshot of %d bytes at %d: %w", s.Size, s.Position, err))
		} else if err != nil {
			return err
		}
		next.at, next.link = s.Position, s.Link
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replica = next
	l.tellAge()
	return nil
}

// image reads a snapshot.
func (l *Log[M]) image(ctx context.Context, s image) ([]byte, error) {
	var data []byte
	for from := 0; from < s.Chunks; from += l.limits.Keys - 1 {
		names := []string{l.keys.head()}
		for i := from; i < min(s.Chunks, from+l.limits.Keys-1); i++ {
			names = append(names, l.keys.chunk(s.Position, i))
		}
		found, err := l.read(ctx, names...)
		if err != nil {
			return nil, err
		}
		h, err := decodeHead(names[0], found[names[0]])
		if err != nil {
			return nil, err
		}
		if h.Snapshot != s {
			return nil, errChanged
		}
		for _, key := range names[1:] {
			data = append(data, found[key]...)
		}
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != s.Sum {
		return nil, lock.Permanent(fmt.Errorf("the snapshot at %q is damaged: it has %d bytes, and another sum than the head says: restore it from a backup of the store", l.keys.chunk(s.Position, 0), len(data)))
	}
	return data, nil
}

func (l *Log[M]) read(ctx context.Context, names ...string) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.options.Try)
	defer cancel()
	return l.values.Read(ctx, names...)
}

// A reader ends with its context: a standby must return soon.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
