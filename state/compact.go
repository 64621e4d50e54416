package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// mostEntries is how many entries there are before a snapshot takes their place, however small they
// are: who comes new reads them all.
const mostEntries = 4096

// compact does one step of a snapshot, or of what is left of an earlier one. Each is one commit, and
// after each the head names everything that exists. busy: there is more to do.
func (w *writer[M]) compact(ctx context.Context) (busy bool, err error) {
	h := w.head
	switch {
	case w.image == nil && h.Writing.Position > 0: // it was given up
		next := h
		next.Trash, next.Writing = append(slices.Clone(h.Trash), h.Writing), image{}
		err = w.commit(ctx, map[string][]byte{}, &next)
	case len(h.Trash) > 0:
		err = w.empty(ctx)
	case h.First <= h.Snapshot.Position:
		err = w.forget(ctx)
	case w.image != nil && w.chunks < h.Writing.Chunks:
		err = w.chunk(ctx)
	case w.image != nil:
		err = w.replace(ctx)
	case w.due():
		err = w.snapshot(ctx)
	default:
		return false, nil
	}
	if err != nil && !w.ends(err) { // the entries stay, and one day Append says why
		w.image, w.later = nil, w.head.Bytes+w.log.options.Every
		return w.head.Writing.Position > 0, nil
	}
	return true, err
}

// due reports whether a snapshot is worth its price.
func (w *writer[M]) due() bool {
	h := w.head
	worth := min(max(w.log.options.Every, h.Snapshot.Size), w.log.limits.Total/8)
	return h.Last > h.Snapshot.Position && h.Bytes >= w.later && (h.Bytes >= worth || h.Last-h.Snapshot.Position >= mostEntries)
}

// per is how many bytes a chunk has.
func (w *writer[M]) per() int { return w.log.limits.Write - room }

// snapshot asks the machine for one, and names in the head what will be written.
func (w *writer[M]) snapshot(ctx context.Context) error {
	data, err := w.state()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	next := w.head
	next.Writing = image{
		Position: next.Last, Link: next.Link, Size: len(data), Sum: hex.EncodeToString(sum[:]),
		Chunks: (len(data) + w.per() - 1) / w.per(),
	}
	if err := w.commit(ctx, map[string][]byte{}, &next); err != nil {
		return err
	}
	w.image, w.chunks, w.before = data, 0, next.Bytes
	if data == nil {
		w.image = []byte{}
	}
	return nil
}

// state is what the machine writes.
func (w *writer[M]) state() ([]byte, error) {
	l := w.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	into := &limited{most: l.limits.Total / 4}
	err := safely(l.role, Command{}, func() error { return l.replica.machine.Snapshot(into) })
	return into.Bytes(), err
}

// unsaved says why no snapshot could be made.
func (w *writer[M]) unsaved() error {
	_, err := w.state()
	if err == nil {
		err = errors.New("the store takes none")
	}
	return fmt.Errorf("no snapshot can be made: %w", err)
}

// chunk writes the next chunk, while the head is as it is known: so that no chunk arrives late.
func (w *writer[M]) chunk(ctx context.Context) error {
	from := w.chunks * w.per()
	part := w.image[from:min(len(w.image), from+w.per())]
	err := w.commit(ctx, map[string][]byte{w.log.keys.chunk(w.head.Writing.Position, w.chunks): part}, nil)
	if err == nil {
		w.chunks++
	}
	return err
}

// replace makes the snapshot the current one.
func (w *writer[M]) replace(ctx context.Context) error {
	next := w.head
	if next.Snapshot.Position > 0 {
		next.Trash = append(slices.Clone(next.Trash), next.Snapshot)
	}
	next.Snapshot, next.Writing = next.Writing, image{}
	next.Bytes -= w.before
	next.Skip = slices.DeleteFunc(slices.Clone(next.Skip), func(c Command) bool { return c.Position <= next.Snapshot.Position })
	if err := w.commit(ctx, map[string][]byte{}, &next); err != nil {
		return err
	}
	w.image, w.later = nil, 0
	return nil
}

// step is how many keys one commit deletes: the head takes two.
func (w *writer[M]) step() int { return w.log.limits.Keys - 2 }

// empty deletes some chunks of a snapshot that nobody needs, the last ones first.
func (w *writer[M]) empty(ctx context.Context) error {
	next, changes := w.head, map[string][]byte{}
	next.Trash = slices.Clone(next.Trash)
	t := &next.Trash[0]
	for range min(w.step(), t.Chunks) {
		t.Chunks--
		changes[w.log.keys.chunk(t.Position, t.Chunks)] = nil
	}
	if t.Chunks == 0 {
		next.Trash = next.Trash[1:]
	}
	return w.commit(ctx, changes, &next)
}

// forget deletes some entries that are in the snapshot, the oldest first.
func (w *writer[M]) forget(ctx context.Context) error {
	next, changes := w.head, map[string][]byte{}
	for range w.step() {
		if next.First > next.Snapshot.Position {
			break
		}
		changes[w.log.keys.entry(next.First)] = nil
		next.First++
	}
	return w.commit(ctx, changes, &next)
}

// A limited buffer refuses more than it may hold.
type limited struct {
	bytes.Buffer
	most int
}

func (b *limited) Write(p []byte) (int, error) {
	if n := b.Len() + len(p); n > b.most {
		return 0, lock.Permanent(fmt.Errorf("the snapshot has %d bytes or more, the limit is %d in this store: keep less in the state", n, b.most))
	}
	return b.Buffer.Write(p)
}
