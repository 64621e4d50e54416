package conformancetest_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noNetwork is what a store in this process lacks.
var noNetwork = map[conformance.Fault]string{
	conformance.Cut:           "the store is this process: there is no network to it",
	conformance.CutReplies:    "the store is this process: there is no network to it",
	conformance.CutRequests:   "the store is this process: there is no network to it",
	conformance.Refuse:        "the store is this process: there is no network to it",
	conformance.Restart:       "the store ends with this process",
	conformance.Pause:         "the store stops with this process",
	conformance.KillLeader:    "the store has no leader",
	conformance.Save:          "the store ends with this process",
	conformance.Compact:       "the store keeps no history",
	conformance.DeleteSession: "nobody reaches its records but through the Locker",
	conformance.RevokeLease:   "the store has no leases",
	conformance.LoseNode:      "the store has no machines",
	conformance.Leftovers:     "the store has no leases: who stands by evicts the silent",
	conformance.DeleteRole:    "nobody reaches its records but through the Locker",
	conformance.Overwrite:     "nobody reaches its records but through the Locker",
}

func TestMemory(t *testing.T) {
	conformancetest.Run(t, conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			s := memory.New()
			return &conformance.Store{Open: func(context.Context) (*conformance.Client, error) { return &conformance.Client{Locker: s.Open()}, nil }}, nil
		},
		Lacks:   noNetwork,
		Virtual: true, Slack: time.Millisecond, History: time.Hour,
	})
}
