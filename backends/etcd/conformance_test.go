//go:build conformance

package etcd_test

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestConformance runs the suite on one real server, each Locker behind a proxy of
// its own.
func TestConformance(t *testing.T) {
	r := newRig(t, start(t, 1))
	var cases atomic.Int64 // each has a prefix of its own
	conformance.Suite{New: func(context.Context) (*conformance.Store, error) {
		own := *r
		own.prefix = fmt.Sprintf("conformance%d/", cases.Add(1))
		return own.store(), nil
	}}.Run(t)
}

// store is what can be done to the server.
func (r *rig) store() *conformance.Store {
	session := func(id lock.SessionID) string { return r.prefix + "line/session/" + url.PathEscape(string(id)) }
	role := func(name string) string { return r.prefix + "state/role/" + url.PathEscape(name) }
	return &conformance.Store{
		Open: func(ctx context.Context) (*conformance.Client, error) { return r.dial(ctx) },
		Restart: func(ctx context.Context) error {
			r.Members[0].Kill()
			return r.Members[0].Restart(ctx)
		},
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
			if err == nil {
				_, err = r.hand.Revoke(ctx, clientv3.LeaseID(g.Kvs[0].Lease))
			}
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
	}
}

// dial opens a Locker whose way to the server leads through a proxy.
func (r *rig) dial(ctx context.Context) (*conformance.Client, error) {
	proxy, err := servers.StartProxy(r.Members[0].Addr())
	if err != nil {
		return nil, err
	}
	l, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{proxy.Addr()}, Prefix: r.prefix})
	if err != nil {
		proxy.Close()
		return nil, err
	}
	hold := func(requests, replies bool) func() error {
		return func() error { proxy.Hold(requests, replies); return nil }
	}
	return &conformance.Client{
		Locker: behind{l, proxy}, Cut: hold(true, true), CutReplies: hold(false, true), Heal: hold(false, false),
	}, nil
}

// behind closes the proxy with the Locker.
type behind struct {
	lock.Locker
	proxy *servers.Proxy
}

func (b behind) Close() error {
	defer b.proxy.Close()
	return b.Locker.Close()
}
