package consul

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
)

// The limits of a Consul session's TTL, and the shortest lock delay that the client can send:
// none at all would mean Consul's default of 15 s.
const (
	minTTL    = 10 * time.Second
	maxTTL    = 24 * time.Hour
	lockDelay = time.Millisecond
)

// Grant makes a Consul session without health checks, which die with the agent. Its ttl is kept
// within Consul's limits.
func (s *store) Grant(ctx context.Context, ttl time.Duration) (kv.Lease, error) {
	q, w, done, err := s.call(ctx)
	if err != nil {
		return "", fmt.Errorf("make a session: %w", err)
	}
	defer done()
	id, _, err := s.client.Session().CreateNoChecks(&api.SessionEntry{
		Name: "understudy", TTL: min(max(ttl, minTTL), maxTTL).String(), Behavior: api.SessionBehaviorDelete, LockDelay: lockDelay,
	}, w)
	if err != nil {
		return "", fmt.Errorf("make a session: %w", s.explain(q, err))
	}
	return kv.Lease(id), nil
}

func (s *store) Keep(ctx context.Context, l kv.Lease) error {
	q, w, done, err := s.call(ctx)
	if err != nil {
		return fmt.Errorf("renew a session: %w", err)
	}
	defer done()
	entry, _, err := s.client.Session().Renew(string(l), w)
	if err != nil {
		return fmt.Errorf("renew a session: %w", s.explain(q, err))
	}
	if entry == nil {
		return kv.ErrNoLease
	}
	return nil
}

// Revoke ends a session. It is not an error if it is already gone.
func (s *store) Revoke(ctx context.Context, l kv.Lease) error {
	q, w, done, err := s.call(ctx)
	if err != nil {
		return fmt.Errorf("destroy a session: %w", err)
	}
	defer done()
	if _, err := s.client.Session().Destroy(string(l), w); err != nil {
		return fmt.Errorf("destroy a session: %w", s.explain(q, err))
	}
	return nil
}
