package kubernetes

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// A Hand does to Leases what a person can do with kubectl. It keeps none of the Locker's rules, and is
// for proving that others do.
type Hand struct{ store *store }

// NewHand returns a Hand on the Lease that a Locker of the same Config keeps.
func NewHand(c Config) (*Hand, error) {
	s, err := newStore(c)
	return &Hand{s}, err
}

// Wipe deletes every Lease whose name begins with the Config's. It takes the rights to list and to delete.
func (h *Hand) Wipe(ctx context.Context) error {
	s := h.store
	query := url.Values{"limit": {"100"}}
	for {
		var all struct {
			Metadata struct{ Continue string }
			Items    []lease
		}
		if err := s.do(ctx, http.MethodGet, s.all, query, nil, &all); err != nil {
			return s.named(ctx, err)
		}
		for _, l := range all.Items {
			if !strings.HasPrefix(l.Metadata.Name, s.lease) {
				continue
			}
			err := s.do(ctx, http.MethodDelete, s.all+"/"+l.Metadata.Name, nil, nil, &struct{}{})
			if err != nil && !is(err, http.StatusNotFound) {
				return s.named(ctx, err)
			}
		}
		if all.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", all.Metadata.Continue)
	}
}

// DeleteSession deletes a session's record.
func (h *Hand) DeleteSession(ctx context.Context, id lock.SessionID) error {
	return object.DeleteSession(ctx, h.store, id)
}

// Close ends every call. It may be repeated.
func (h *Hand) Close() error { return h.store.Close() }
