package consul

import (
	"context"
	"errors"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// Servers are what a datacenter's servers say about themselves.
type Servers struct {
	Members []string // the addresses of those that vote
	Leader  string   // one of Members; "": unknown
	Healthy []string // Members that Consul's autopilot considers healthy; nil: we may not ask it
}

// Inspect asks the agent of c who the servers are. That needs no rights; it also says which of
// them are healthy if the token has operator = "read".
func Inspect(ctx context.Context, c Config) (found Servers, err error) {
	s, err := newStore(c)
	if err != nil {
		return found, err
	}
	defer func() { _ = s.Close() }()
	q, _, done, err := s.call(ctx)
	if err != nil {
		return found, err
	}
	defer done()
	if found.Members, err = s.client.Status().PeersWithQueryOptions(q); err != nil {
		return found, s.explain(q, err)
	}
	if found.Leader, err = s.client.Status().LeaderWithQueryOptions(q); err != nil {
		return found, s.explain(q, err)
	}
	health, err := s.client.Operator().AutopilotServerHealth(q)
	if errors.Is(err, lock.ErrPermanent) { // we have no right to ask
		return found, nil
	}
	if err != nil {
		return found, s.explain(q, err)
	}
	found.Healthy = []string{}
	for _, server := range health.Servers {
		if server.Healthy && slices.Contains(found.Members, server.Address) {
			found.Healthy = append(found.Healthy, server.Address)
		}
	}
	return found, nil
}
