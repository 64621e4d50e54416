package etcd_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
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
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestSuite runs the suite on one real server, each Locker behind a proxy of
// its own, as a user with exactly the role in docs/etcd.md.
func TestSuite(t *testing.T) {
	c, err := servers.StartEtcd(within(t, time.Minute), t.TempDir(), 1, servers.Options{Args: []string{"--bcrypt-cost=4"}})
	must(t, err)
	t.Cleanup(c.Stop)
	s := suite(t, restricted(t, c))
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
	r.hand, r.user, r.password = hand, "billing", filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(r.password, []byte("hunter2"), 0o600))
	return r
}

func suite(t *testing.T, r *rig) conformance.Suite {
	var cases atomic.Int64 // each has a prefix of its own
	return conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			own := *r
			own.prefix = fmt.Sprintf("understudy/%d/", cases.Add(1))
			return own.store(), nil
		},
		Lacks: map[conformance.Fault]string{conformance.LoseNode: "etcd keeps no list of machines"},
		TTL:   2 * time.Second, Slack: 2 * time.Second, History: 20 * time.Second,
	}
}

// store is what can be done to the servers.
func (r *rig) store() *conformance.Store {
	session := func(id lock.SessionID) string { return r.prefix + "line/session/" + url.PathEscape(string(id)) }
	role := func(name string) string { return r.prefix + "state/role/" + url.PathEscape(name) }
	return &conformance.Store{
		Open:       func(ctx context.Context) (*conformance.Client, error) { return r.dial(ctx) },
		Restart:    r.Restart,
		Pause:      r.Pause,
		KillLeader: r.KillLeader,
		Save:       r.save,
		Compact: func(ctx context.Context) error {
			g, err := r.hand.Get(ctx, "none")
			if err == nil {
				_, err = r.hand.Compact(ctx, g.Header.Revision)
			}
			return err
		},
		DeleteSession: func(ctx context.Context, id lock.SessionID) error {
			_, err := r.hand.Delete(ctx, session(id))
			return err
		},
		RevokeLease: func(ctx context.Context, id lock.SessionID) error {
			g, err := r.hand.Get(ctx, session(id))
			if err != nil || len(g.Kvs) == 0 {
				return errors.Join(err, errors.New("there is no such session"))
			}
			_, err = r.hand.Revoke(ctx, clientv3.LeaseID(g.Kvs[0].Lease))
			return err
		},
		DeleteRole: func(ctx context.Context, name string) error {
			_, err := r.hand.Delete(ctx, role(name))
			return err
		},
		Overwrite: func(ctx context.Context, name string) error {
			_, err := r.hand.Put(ctx, role(name), "something else")
			return err
		},
		Leftovers: r.leftovers(map[int64]bool{}),
	}
}

func (r *rig) save(ctx context.Context) (conformance.Backup, error) {
	dir, err := os.MkdirTemp(r.TempDir(), "backup")
	if err != nil {
		return nil, err
	}
	restore, err := r.Save(ctx, dir)
	return restore, err
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
	var way network
	var through []string
	for _, at := range r.endpoints() {
		proxy, err := servers.StartProxy(at)
		if err != nil {
			way.close()
			return nil, err
		}
		way, through = append(way, proxy), append(through, proxy.Addr())
	}
	l, err := etcd.Open(ctx, etcd.Config{Endpoints: through, Prefix: strings.TrimSuffix(r.prefix, "/"), Username: r.user, PasswordFile: r.password})
	if err != nil {
		way.close()
		return nil, err
	}
	return &conformance.Client{
		Locker: behind{l, way}, Cut: way.hold(true, true), CutReplies: way.hold(false, true), CutRequests: way.hold(true, false),
		Refuse: way.refuse, Heal: way.heal, Far: way.far,
	}, nil
}

// A network is the proxies of one Locker.
type network []*servers.Proxy

func (n network) hold(requests, replies bool) func() error {
	return func() error {
		for _, p := range n {
			p.Hold(requests, replies)
		}
		return nil
	}
}

func (n network) far(trip, jitter time.Duration) {
	for _, p := range n {
		p.Far(trip, jitter)
	}
}

func (n network) refuse() error {
	for _, p := range n {
		p.Refuse()
		p.Reset()
	}
	return nil
}

func (n network) heal() error {
	errs := []error{n.hold(false, false)()}
	for _, p := range n {
		errs = append(errs, p.Accept())
	}
	return errors.Join(errs...)
}

func (n network) close() {
	for _, p := range n {
		p.Close()
	}
}

// behind closes the proxies with the Locker.
type behind struct {
	lock.Locker
	way network
}

func (b behind) Close() error {
	defer b.way.close()
	return b.Locker.Close()
}

var distances = flag.String("far", conformancetest.Distance, "see conformancetest.RunFar")

// TestSuiteFar runs the suite far away from one server, behind its users and passwords.
func TestSuiteFar(t *testing.T) {
	c, err := servers.StartEtcd(within(t, time.Minute), t.TempDir(), 1, servers.Options{Args: []string{"--bcrypt-cost=4"}})
	must(t, err)
	t.Cleanup(c.Stop)
	s := suite(t, restricted(t, c))
	s.Lacks[conformance.KillLeader] = "one server has no other: see TestSuiteOfThree"
	conformancetest.RunFar(t, s, *distances)
}
