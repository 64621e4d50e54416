//go:build s3

package s3

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/ways"
)

// TestSuite runs the suite on a real S3 server, each Locker behind a proxy of its own, as a user with exactly the
// rights in docs/s3.md.
func TestSuite(t *testing.T) { conformancetest.Run(t, suite(start(t, servers.Options{}))) }

var distances = flag.String("far", "2s/0.15", "see conformancetest.RunFar")

// TestSuiteFar runs it far away.
func TestSuiteFar(t *testing.T) {
	conformancetest.RunFar(t, suite(start(t, servers.Options{})), *distances)
}

func suite(r *rig) conformance.Suite {
	var cases atomic.Int64 // each has an object of its own
	return conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			return r.suiteStore(fmt.Sprintf("%s-%d", DefaultObject, cases.Add(1)))
		},
		Lacks: map[conformance.Fault]string{
			conformance.Values:      "the store keeps no values",
			conformance.KillLeader:  "there is one server; TestRestart ends it",
			conformance.LoseNode:    "the server keeps no list of machines for us",
			conformance.Compact:     "an object has no history that a read needs",
			conformance.RevokeLease: "an object has no leases: TestDeleted deletes it",
			conformance.Leftovers:   "an object does not end: standbys evict silent sessions",
			conformance.DeleteRole:  "a role has no record of its own",
			conformance.Overwrite:   "a role has no record of its own: see TestForeign",
		},
		TTL: 2 * time.Second, Slack: 6 * time.Second, History: 20 * time.Second,
	}
}

// suiteStore is what can be done to a group's object. A backup is the object's content, as an earlier version in the bucket.
func (r *rig) suiteStore(key string) (*conformance.Store, error) {
	hand, err := NewHand(r.manager(key))
	if err != nil {
		return nil, err
	}
	return &conformance.Store{
		Open: func(ctx context.Context) (*conformance.Client, error) {
			w, c := ways.New(), r.config(key)
			c.Dial = w.Dial
			return w.Client(Open(ctx, c))
		},
		Save: func(ctx context.Context) (conformance.Backup, error) {
			v, err := hand.store.Get(ctx)
			return func(ctx context.Context) error { return r.putBack(ctx, key, v.Data) }, err
		},
		Close: hand.Close, DeleteSession: hand.DeleteSession, Restart: r.Restart, Pause: r.Pause,
	}, nil
}

// putBack has an object hold what it held before; nil: nothing.
func (r *rig) putBack(ctx context.Context, key string, data []byte) error {
	method := http.MethodPut
	if data == nil {
		method = http.MethodDelete
	}
	_, err := r.hand.do(ctx, method, key, nil, nil, data)
	return err
}
