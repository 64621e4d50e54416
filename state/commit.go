package state

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/lock"
)

// errForeign means that something else than this writer has written the log in its term.
var errForeign = errors.New("something else writes this log in this term: one Log of a role per process, and nothing by hand")

// commit makes changes in one commit in which the term stands and the head is the one that is known,
// and replaces that by next; nil: it stays. It tries until the outcome is known, or ctx ends: a commit
// that has no answer is made again as it is, and the head tells whether it was made before.
func (w *writer[M]) commit(ctx context.Context, changes map[string][]byte, next *head) error {
	key, raw := w.log.keys.head(), w.raw
	if next != nil {
		next.Format, next.Token, next.Nonce = format, w.term.Token, rand.Text()
		raw = encode(next)
		changes[key] = raw
	}
	for unsure := false; ; {
		current, err := w.try(ctx, changes, map[string][]byte{key: w.raw})
		switch {
		case err == nil:
			w.know(next, raw)
			return nil
		case errors.Is(err, lock.ErrMoved):
			if errors.Is(err, lock.ErrDiffers) {
				err = errForeign
			} else {
				err = w.stale(current)
			}
			if !unsure {
				return err
			}
			return w.settle(ctx, next, raw, err)
		case errors.Is(err, lock.ErrPermanent) && !unsure:
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		unsure = true
		pause(ctx, retry)
	}
}

func (w *writer[M]) try(ctx context.Context, changes, when map[string][]byte) (lock.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, w.log.options.Try)
	defer cancel()
	return w.log.values.Write(ctx, w.log.role, w.term.Token, changes, when)
}

func (w *writer[M]) know(next *head, raw []byte) {
	if next != nil {
		w.head, w.raw = *next, raw
	}
}

// settle finds out whether a commit was made that had no answer, and that is refused now for the
// reason given: its head is there, or its entry is, by the nonce.
func (w *writer[M]) settle(ctx context.Context, next *head, raw []byte, refused error) error {
	if next == nil {
		return refused
	}
	for {
		entryKey := w.log.keys.entry(next.Last)
		found, err := w.log.read(ctx, w.log.keys.head(), entryKey)
		if err == nil {
			h, bad := decodeHead(w.log.keys.head(), found[w.log.keys.head()])
			e, _ := decodeEntry(entryKey, found[entryKey])
			if h.Token > w.term.Token { // it was a later term that changed the head
				refused = w.stale(h.Token)
			}
			made := bytes.Equal(found[w.log.keys.head()], raw) || next.Last != w.head.Last && e.Nonce == next.Link
			switch {
			case made:
				w.know(next, raw)
				return nil
			case bad == nil && (next.Last >= h.First || next.Last == w.head.Last):
				return refused
			}
			return fmt.Errorf("%w: the log was compacted before it could be found: %w", ErrUnknown, refused)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		pause(ctx, retry)
	}
}
