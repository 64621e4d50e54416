package kv

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// A Hand does to the records under a prefix what a person can do with the store's own tools. It
// keeps none of the Locker's rules, and is for proving that others do. Its calls may be repeated.
type Hand struct {
	store Store
	keys  keys
}

// NewHand returns a Hand on the records of a Locker with the same store and prefix. It closes s.
func NewHand(s Store, prefix string) *Hand { return &Hand{s, keysUnder(prefix)} }

// DeleteSession deletes a session's record.
func (h *Hand) DeleteSession(ctx context.Context, id lock.SessionID) error {
	return h.write(ctx, Write{Key: h.keys.session(id)})
}

// DeleteRole deletes a role's record.
func (h *Hand) DeleteRole(ctx context.Context, role string) error {
	return h.write(ctx, Write{Key: h.keys.role(role)})
}

// Overwrite replaces a role's record by a foreign value.
func (h *Hand) Overwrite(ctx context.Context, role string) error {
	return h.write(ctx, Write{Key: h.keys.role(role), Value: []byte("something else " + rand.Text())})
}

// RevokeLease ends the store's lease that a session's record is on.
func (h *Hand) RevokeLease(ctx context.Context, id lock.SessionID) error {
	found, err := h.store.Read(ctx, h.keys.session(id))
	if err != nil {
		return err
	}
	return h.revoke(ctx, found)
}

// Wipe deletes everything under the prefix, and the leases that it is on.
func (h *Hand) Wipe(ctx context.Context) error {
	for {
		found, err := h.store.Read(ctx, string(h.keys))
		if err != nil || len(found.Records) == 0 {
			return err
		}
		if err := h.revoke(ctx, found); err != nil {
			return err
		}
		var all []Write
		for _, r := range found.Records {
			all = append(all, Write{Key: r.Key})
		}
		for some := range slices.Chunk(all, MaxOps) {
			if err := h.write(ctx, some...); err != nil {
				return err
			}
		}
	}
}

// revoke ends every lease of the records; it is not an error if one is already gone.
func (h *Hand) revoke(ctx context.Context, v View) error {
	done := map[Lease]bool{"": true}
	for _, r := range v.Records {
		if done[r.Lease] {
			continue
		}
		done[r.Lease] = true
		if err := h.store.Revoke(ctx, r.Lease); err != nil && !errors.Is(err, ErrNoLease) {
			return err
		}
	}
	return nil
}

func (h *Hand) write(ctx context.Context, w ...Write) error {
	_, err := h.store.Commit(ctx, Txn{Writes: w})
	return err
}

// Close ends every call. It may be repeated.
func (h *Hand) Close() error { return h.store.Close() }
