package conformance

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onShelf is the suite of a ledger with every fault, and with a mistake.
func onShelf(m mistake) Suite {
	return Suite{
		New: func(context.Context) (*Store, error) { return newShelf(m).store(), nil },
		Lacks: map[Fault]string{
			Compact:     "a ledger keeps no history",
			Pause:       "a ledger stops with this process",
			KillLeader:  "a ledger has no leader",
			Save:        "a Locker of a ledger shows nothing older than what it has shown",
			RevokeLease: "a ledger has no leases",
			LoseNode:    "a ledger has no machines",
			Leftovers:   "a ledger has no leases: who stands by evicts the silent",
		},
		Virtual: true, Slack: time.Millisecond, History: 10 * time.Minute,
	}
}

// TestShelf runs the suite on the store in which mistakes are planted later,
// without one.
func TestShelf(t *testing.T) {
	passes(t, onShelf(mistake{}))
}

// passes expects a store to pass every case that applies to it.
func passes(t *testing.T, s Suite) {
	s.Each(func(c Case) {
		if c.Lacks() != "" {
			return
		}
		t.Run(c.Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if r := c.Run(t.Context()); r.Verdict == Failed {
					t.Error(r.Why)
				}
			})
		})
	})
}

var _ lock.Locker = (*Client)(nil)
