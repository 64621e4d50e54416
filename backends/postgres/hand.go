package postgres

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// A Hand does to rows what a person can do with psql. It keeps none of the Locker's rules, and is
// for proving that others do.
type Hand struct{ store *store }

// NewHand returns a Hand on the row that a Locker of the same Config keeps.
func NewHand(c Config) (*Hand, error) {
	s, err := newStore(c)
	return &Hand{s}, err
}

// DeleteSession deletes a session's record.
func (h *Hand) DeleteSession(ctx context.Context, id lock.SessionID) error {
	return object.DeleteSession(ctx, h.store, id)
}

// Wipe deletes every row whose name begins with the Config's Group. It takes the right to delete.
func (h *Hand) Wipe(ctx context.Context) error {
	s := h.store
	err := s.calls.with(ctx, func(ctx context.Context, c *conn) error {
		_, err := c.query(ctx, `delete from %s where starts_with(name, %s)`, s.Table, text(s.Group))
		switch {
		case is(err, noTable):
			return nil
		case is(err, noRight): // which PostgreSQL does not name
			return fmt.Errorf("the user may not delete its rows, which no contender does: grant delete on %s to it: %w", s.Table, err)
		}
		return err
	})
	return s.named(err)
}

// Close ends every call. It may be repeated.
func (h *Hand) Close() error { return h.store.Close() }
