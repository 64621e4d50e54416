package s3

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// A Hand does to objects what a person can do with the aws command. It keeps none of the Locker's rules, and is
// for proving that others do.
type Hand struct{ store *store }

// NewHand returns a Hand on the object that a Locker of the same Config keeps.
func NewHand(c Config) (*Hand, error) {
	s, err := newStore(c)
	return &Hand{s}, err
}

// Wipe deletes every object whose key begins with the Config's. It takes the rights to list and to delete.
func (h *Hand) Wipe(ctx context.Context) error {
	s := h.store
	for { // what is deleted is not listed again
		a, err := s.do(ctx, http.MethodGet, "", url.Values{"list-type": {"2"}, "prefix": {s.key}}, nil, nil)
		if err != nil {
			return err
		}
		var all struct {
			Contents []struct{ Key string }
		}
		if err := xml.Unmarshal(a.body, &all); err != nil {
			return fmt.Errorf("the list of objects cannot be read: %w", err)
		}
		if len(all.Contents) == 0 {
			return nil
		}
		for _, one := range all.Contents {
			if _, err := s.do(ctx, http.MethodDelete, one.Key, nil, nil, nil); err != nil {
				return err
			}
		}
	}
}

// Close ends every call. It may be repeated.
func (h *Hand) Close() error { return h.store.Close() }

// DeleteSession deletes a session's record.
func (h *Hand) DeleteSession(ctx context.Context, id lock.SessionID) error {
	return object.DeleteSession(ctx, h.store, id)
}
