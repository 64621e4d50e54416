//go:build kubernetes

package kubernetes_test

import (
	"context"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kubernetes"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/internal/lab/ways"
)

// TestSuite runs the suite on a real API server, each Locker behind a proxy of its own, as a service account
// with exactly the rights in docs/kubernetes.md.
func TestSuite(t *testing.T) { conformancetest.Run(t, suite(start(t))) }

var distances = flag.String("far", "2s/0.2", "see conformancetest.RunFar")

// TestSuiteFar runs it far away.
func TestSuiteFar(t *testing.T) { conformancetest.RunFar(t, suite(start(t)), *distances) }

func suite(r *rig) conformance.Suite {
	var cases atomic.Int64 // each has a Lease of its own
	name := func(n int64) string { return fmt.Sprintf("suite-%d", n) }
	var names []string
	for n := range int64(1000) {
		names = append(names, name(n))
	}
	r.allow(names...)
	return conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) { return r.store(name(cases.Add(1))) },
		Lacks: map[conformance.Fault]string{
			conformance.Values:      "the store keeps no values",
			conformance.KillLeader:  "there is one API server; TestRestart ends it",
			conformance.LoseNode:    "the API server keeps no list of machines for us",
			conformance.Compact:     "a Lease has no history that a read needs",
			conformance.RevokeLease: "one Lease holds everything: TestDeleted deletes it",
			conformance.Leftovers:   "a Lease does not end: standbys evict silent sessions",
			conformance.DeleteRole:  "a role has no record of its own",
			conformance.Overwrite:   "a role has no record of its own: see TestForeign",
		},
		// In RunAbandoned sixty sessions write one Lease: who evicts them waits for its turn.
		TTL: 2 * time.Second, Slack: 6 * time.Second, History: 20 * time.Second,
	}
}

// store is what can be done to a group's Lease.
func (r *rig) store(lease string) (*conformance.Store, error) {
	hand, err := kubernetes.NewHand(r.manager(lease))
	if err != nil {
		return nil, err
	}
	return &conformance.Store{
		Open: func(ctx context.Context) (*conformance.Client, error) {
			w, c := ways.New(), r.config(lease)
			c.Dial = w.Dial
			return w.Client(kubernetes.Open(ctx, c))
		},
		Save:  func(ctx context.Context) (conformance.Backup, error) { return r.Save(ctx, r.TempDir()) },
		Close: hand.Close, DeleteSession: hand.DeleteSession, Restart: r.Restart, Pause: r.Pause,
	}, nil
}
