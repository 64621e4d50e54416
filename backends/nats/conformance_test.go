//go:build nats

package nats_test

import (
	"context"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/understudy-ha/understudy/backends/nats"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/internal/lab/ways"
)

// TestSuite runs the suite on three real servers, each Locker behind proxies of its own, as a user with
// exactly the rights in docs/nats.md.
func TestSuite(t *testing.T) { conformancetest.Run(t, start(t, 3).suite()) }

// Three contenders of one key work at three tenths of a try: see docs/backend.md.
var distances = flag.String("far", "2s/0.3", "see conformancetest.RunFar")

// TestSuiteFar runs it far away.
func TestSuiteFar(t *testing.T) { conformancetest.RunFar(t, start(t, 3).suite(), *distances) }

func (r *rig) suite() conformance.Suite {
	r.bucket(jetstream.KeyValueConfig{Replicas: len(r.Members)})
	var cases atomic.Int64 // each has a key of its own
	return conformance.Suite{
		TTL: 2 * time.Second, Slack: 6 * time.Second, History: 20 * time.Second,
		New: func(context.Context) (*conformance.Store, error) {
			return r.store(fmt.Sprintf("suite/%d", cases.Add(1)))
		},
		Lacks: map[conformance.Fault]string{
			conformance.Values:      "the store keeps no values",
			conformance.LoseNode:    "the bucket's replicas are the operator's",
			conformance.Compact:     "a key has no history that a watch reads",
			conformance.RevokeLease: "a key has no leases",
			conformance.Leftovers:   "a key has no leases: standbys evict silent sessions",
			conformance.DeleteRole:  "a role has no record of its own",
			conformance.Overwrite:   "a role has no record of its own: see TestForeign",
		},
	}
}

// store is what can be done to a group's key.
func (r *rig) store(group string) (*conformance.Store, error) {
	c := r.config(group)
	hand, err := nats.NewHand(c)
	if err != nil {
		return nil, err
	}
	s := &conformance.Store{Close: hand.Close, DeleteSession: hand.DeleteSession, KillLeader: r.KillLeader, Restart: r.Restart, Pause: r.Pause}
	s.Save = func(ctx context.Context) (conformance.Backup, error) { return r.Save(ctx, r.TempDir()) }
	s.Open = func(ctx context.Context) (*conformance.Client, error) {
		w, through := ways.New(), c
		through.Dial = w.Dial
		return w.Client(nats.Open(ctx, through))
	}
	return s, nil
}
