package nats

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// A Hand does to keys what a person can do with the nats command. It keeps none of the Locker's
// rules, and is for proving that others do.
type Hand struct{ store *store }

// NewHand returns a Hand on the key that a Locker of the same Config keeps.
func NewHand(c Config) (*Hand, error) {
	s, err := newStore(c)
	return &Hand{store: s}, err
}

// Close ends every call. It may be repeated.
func (h *Hand) Close() error { return h.store.Close() }

// Wipe removes every key whose name begins with the Config's Group. It takes the right to purge.
func (h *Hand) Wipe(ctx context.Context) error {
	s := h.store
	_, err := with(ctx, s, func(ctx context.Context, l *link) (none struct{}, err error) {
		if info, err := s.look(ctx, l); info == nil || err != nil {
			return none, err
		}
		stream, err := l.js.Stream(ctx, s.stream())
		if err != nil {
			return none, err
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err != nil {
			return none, err
		}
		for subject := range info.State.Subjects {
			if strings.HasPrefix(subject, s.subject()) {
				if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
					return none, err
				}
			}
		}
		return none, nil
	})
	return err
}

// DeleteSession deletes a session's record.
func (h *Hand) DeleteSession(ctx context.Context, id lock.SessionID) error {
	return object.DeleteSession(ctx, h.store, id)
}
