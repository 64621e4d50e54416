package etcd_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/ways"
)

// TestSuite runs the suite on one real server, each Locker behind a proxy of
// its own, as a user with exactly the role in docs/etcd.md.
func TestSuite(t *testing.T) {
	s := suite(t, restricted(t, serve.Start(t, "etcd", 1, servers.Options{Args: []string{"--bcrypt-cost=4"}})))
	s.Lacks[conformance.KillLeader] = "one server has no other: see TestSuiteOfThree"
	conformancetest.Run(t, s)
}

// TestSuiteOfThree kills the leader of three.
func TestSuiteOfThree(t *testing.T) {
	s := suite(t, newRig(t, start(t, 3)))
	s.Needing = conformance.KillLeader
	conformancetest.Run(t, s)
}

// restricted is a rig whose Lockers may do what docs/etcd.md says, and no more.
func restricted(t *testing.T, c *servers.Cluster) *rig {
	r, ctx := newRig(t, c), within(t, time.Minute)
	for _, do := range []func() error{
		func() error { _, err := r.hand.RoleAdd(ctx, "root"); return err },
		func() error { _, err := r.hand.UserAdd(ctx, "root", "rootpw"); return err },
		func() error { _, err := r.hand.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := r.hand.RoleAdd(ctx, "understudy"); return err },
		func() error {
			_, err := r.hand.RoleGrantPermission(ctx, "understudy", "understudy/", clientv3.GetPrefixRangeEnd("understudy/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := r.hand.UserAdd(ctx, "billing", "hunter2"); return err },
		func() error { _, err := r.hand.UserGrantRole(ctx, "billing", "understudy"); return err },
		func() error { _, err := r.hand.AuthEnable(ctx); return err },
	} {
		must(t, do())
	}
	hand, err := clientv3.New(clientv3.Config{Endpoints: r.endpoints(), Username: "root", Password: "rootpw", Logger: zap.NewNop()})
	must(t, err)
	t.Cleanup(func() { _ = hand.Close() }) // it has nothing to say
	r.hand, r.root, r.rootPassword = hand, "root", passwordFile(t, "rootpw")
	r.user, r.password = "billing", passwordFile(t, "hunter2")
	return r
}

func passwordFile(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func suite(t *testing.T, r *rig) conformance.Suite {
	var cases atomic.Int64 // each has a prefix of its own
	return conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			own := *r
			own.prefix = fmt.Sprintf("understudy/%d/", cases.Add(1))
			return own.store()
		},
		Lacks: map[conformance.Fault]string{conformance.LoseNode: "etcd keeps no list of machines"},
		TTL:   2 * time.Second, Slack: 2 * time.Second, History: 20 * time.Second,
	}
}

// store is what can be done to the servers.
func (r *rig) store() (*conformance.Store, error) {
	hand, err := etcd.Hand(r.config(r.endpoints(), r.root, r.rootPassword))
	if err != nil {
		return nil, err
	}
	return &conformance.Store{
		Open: r.dial, Close: hand.Close,
		Restart: r.Restart, Pause: r.Pause, KillLeader: r.KillLeader,
		Save: func(ctx context.Context) (conformance.Backup, error) { return r.Save(ctx, r.TempDir()) },
		Compact: func(ctx context.Context) error {
			g, err := r.hand.Get(ctx, "none")
			if err == nil {
				_, err = r.hand.Compact(ctx, g.Header.Revision)
			}
			return err
		},
		DeleteSession: hand.DeleteSession, RevokeLease: hand.RevokeLease, DeleteRole: hand.DeleteRole, Overwrite: hand.Overwrite,
		Leftovers: r.leftovers(map[int64]bool{}),
	}, nil
}

// leftovers names the keys that hang on a lease, and the leases on which any ever
// hung.
func (r *rig) leftovers(leases map[int64]bool) func(ctx context.Context) ([]string, error) {
	return func(ctx context.Context) (names []string, err error) {
		g, err := r.hand.Get(ctx, r.prefix, clientv3.WithPrefix())
		if err != nil {
			return nil, err
		}
		for _, kv := range g.Kvs {
			if kv.Lease != 0 {
				names, leases[kv.Lease] = append(names, string(kv.Key)), true
			}
		}
		for id := range leases {
			left, err := r.hand.TimeToLive(ctx, clientv3.LeaseID(id))
			if err != nil {
				return nil, err
			}
			if left.TTL >= 0 {
				names = append(names, fmt.Sprintf("lease %x", id))
			}
		}
		return names, nil
	}
}

// dial opens a Locker whose way to each server leads through a proxy.
func (r *rig) dial(ctx context.Context) (*conformance.Client, error) {
	w := ways.New()
	through, err := w.ThroughAll(r.endpoints()...)
	if err != nil {
		return nil, err
	}
	return w.Client(etcd.Open(ctx, r.config(through, r.user, r.password)))
}

func (r *rig) config(endpoints []string, user, password string) etcd.Config {
	return etcd.Config{Endpoints: endpoints, Prefix: strings.TrimSuffix(r.prefix, "/"), Username: user, PasswordFile: password}
}

var distances = flag.String("far", conformancetest.Distance, "see conformancetest.RunFar")

// TestSuiteFar runs the suite far away from one server, behind its users and passwords.
func TestSuiteFar(t *testing.T) {
	s := suite(t, restricted(t, serve.Start(t, "etcd", 1, servers.Options{Args: []string{"--bcrypt-cost=4"}})))
	s.Lacks[conformance.KillLeader] = "one server has no other: see TestSuiteOfThree"
	conformancetest.RunFar(t, s, *distances)
}
