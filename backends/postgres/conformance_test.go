//go:build postgres

package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/ways"
)

// TestSuite runs the suite on a real server, each Locker behind a proxy of its own, as a user with
// exactly the rights in docs/postgres.md.
func TestSuite(t *testing.T) {
	r := start(t)
	conformancetest.Run(t, suite(r, r.Members[0]))
}

// TestSuitePooled runs it through PgBouncer in transaction mode, whose connections all Lockers share.
func TestSuitePooled(t *testing.T) {
	r := start(t)
	conformancetest.Run(t, suite(r, r.pooler(4)))
}

// Three contenders of one row work at three tenths of a try: see docs/backend.md. At 0.85 two cases
// fail, in which several write in the same moment.
var distances = flag.String("far", "2s/0.3", "see conformancetest.RunFar")

// TestSuiteFar runs it far away.
func TestSuiteFar(t *testing.T) {
	r := start(t)
	conformancetest.RunFar(t, suite(r, r.Members[0]), *distances)
}

func suite(r *rig, at *servers.Member) conformance.Suite {
	var cases atomic.Int64 // each has a row of its own
	return conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			return r.store(at, fmt.Sprintf("suite/%d", cases.Add(1)))
		},
		Lacks: map[conformance.Fault]string{
			conformance.Values:      "the store keeps no values",
			conformance.KillLeader:  "there is one primary; TestPromoted ends it",
			conformance.LoseNode:    "PostgreSQL keeps no list of machines",
			conformance.Compact:     "a row has no history that a watch reads",
			conformance.RevokeLease: "a row has no leases",
			conformance.Leftovers:   "a row has no leases: standbys evict silent sessions",
			conformance.DeleteRole:  "a role has no record of its own",
			conformance.Overwrite:   "a role has no record of its own: see TestForeign",
		},
		// In RunAbandoned sixty sessions write one row: who evicts them waits for its turn.
		TTL: 2 * time.Second, Slack: 6 * time.Second, History: 20 * time.Second,
	}
}

// store is what can be done to a group's row.
func (r *rig) store(at *servers.Member, group string) (*conformance.Store, error) {
	c := config(group, at)
	hand, err := postgres.NewHand(c)
	if err != nil {
		return nil, err
	}
	return &conformance.Store{
		Open: func(ctx context.Context) (*conformance.Client, error) {
			w, c := ways.New(), c
			c.Dial = w.Dial
			return w.Client(postgres.Open(ctx, c))
		},
		Close: hand.Close, DeleteSession: hand.DeleteSession,
		Restart: r.Restart, Pause: r.Pause,
		Save: func(ctx context.Context) (conformance.Backup, error) { return r.Save(ctx, r.TempDir()) },
	}, nil
}
