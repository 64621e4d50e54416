package conformance

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noNetwork is what a store in this process lacks.
var noNetwork = map[Fault]string{
	Cut:           "the store is this process: there is no network to it",
	CutReplies:    "the store is this process: there is no network to it",
	CutRequests:   "the store is this process: there is no network to it",
	Refuse:        "the store is this process: there is no network to it",
	Restart:       "the store ends with this process",
	Pause:         "the store stops with this process",
	KillLeader:    "the store has no leader",
	Save:          "the store ends with this process",
	Compact:       "the store keeps no history",
	DeleteSession: "nobody reaches its records but through the Locker",
	RevokeLease:   "the store has no leases",
	LoseNode:      "the store has no machines",
	Leftovers:     "the store has no leases: who stands by evicts the silent",
	DeleteRole:    "nobody reaches its records but through the Locker",
	Overwrite:     "nobody reaches its records but through the Locker",
}

func TestMemory(t *testing.T) {
	Suite{
		New: func(context.Context) (*Store, error) {
			s := memory.New()
			return &Store{Open: func(context.Context) (*Client, error) { return &Client{Locker: s.Open()}, nil }}, nil
		},
		Lacks:   noNetwork,
		Virtual: true, Slack: time.Millisecond, History: time.Hour,
	}.Run(t)
}

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
func TestShelf(t *testing.T) { onShelf(mistake{}).Run(t) }

var _ lock.Locker = (*Client)(nil)
