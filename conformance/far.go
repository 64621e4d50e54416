package conformance

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
)

// oneTry is how long a coordinator waits for one round trip.
func (s Suite) oneTry() time.Duration { return coordinator.Config{TTL: s.TTL}.Defaults().Try() }

// trip is how long a round trip takes if the store is far away; 0: it is near.
func (s Suite) trip() time.Duration { return time.Duration(s.Far * float64(s.oneTry())) }

// away puts a client as far away as the suite says. The random part stays below a try.
func (t *trial) away(c *Client) {
	if t.Far > 0 {
		c.Far(t.trip(), max(0, min(t.trip()/10, t.oneTry()*9/10-t.trip())))
	}
}

// callTrips is how many round trips a call of the contract may take.
const callTrips = 4

// callTime is how long one call may take.
func (t *trial) callTime() time.Duration {
	if t.Far > 0 {
		return callTrips * t.oneTry()
	}
	return 5 * time.Second
}

// one makes one call, with the time of one.
func (t *trial) one(call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.ctx, t.callTime())
	defer cancel()
	return call(ctx)
}
