//go:build conformance

package consul

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestConformance runs the suite on one real server, each Locker behind a proxy of
// its own.
func TestConformance(t *testing.T) {
	c := start(t, 1, servers.Options{Config: "limits { http_max_conns_per_client = 4000 }"}) // all of them come from one address
	var cases atomic.Int64                                                                   // each has a prefix of its own
	hand, err := api.NewClient(&api.Config{Address: c.Members[0].Addr()})
	must(t, err)
	conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			return storeOf(c.Members[0], hand, fmt.Sprintf("conformance%d/", cases.Add(1))), nil
		},
		Lacks: map[conformance.Fault]string{conformance.Compact: "Consul's blocking queries read no history"},
	}.Run(t)
}

// storeOf is what can be done to the server.
func storeOf(m *servers.Member, hand *api.Client, prefix string) *conformance.Store {
	session := func(id lock.SessionID) string { return prefix + "line/session/" + url.PathEscape(string(id)) }
	role := func(name string) string { return prefix + "state/role/" + url.PathEscape(name) }
	write := func(ctx context.Context) *api.WriteOptions { return new(api.WriteOptions).WithContext(ctx) }
	return &conformance.Store{
		Open: func(ctx context.Context) (*conformance.Client, error) { return dialProxied(ctx, m, prefix) },
		Restart: func(ctx context.Context) error {
			m.Kill()
			return m.Restart(ctx)
		},
		DeleteSession: func(ctx context.Context, id lock.SessionID) error {
			_, err := hand.KV().Delete(session(id), write(ctx))
			return err
		},
		RevokeLease: func(ctx context.Context, id lock.SessionID) error {
			p, _, err := hand.KV().Get(session(id), new(api.QueryOptions).WithContext(ctx))
			if err == nil {
				_, err = hand.Session().Destroy(p.Session, write(ctx))
			}
			return err
		},
		DeleteRole: func(ctx context.Context, name string) error {
			_, err := hand.KV().Delete(role(name), write(ctx))
			return err
		},
		Overwrite: func(ctx context.Context, name string) error {
			_, err := hand.KV().Put(&api.KVPair{Key: role(name), Value: []byte("something else")}, write(ctx))
			return err
		},
	}
}

// dialProxied opens a Locker whose way to the server leads through a proxy.
func dialProxied(ctx context.Context, m *servers.Member, prefix string) (*conformance.Client, error) {
	proxy, err := servers.StartProxy(m.Addr())
	if err != nil {
		return nil, err
	}
	l, err := Open(ctx, Config{Address: proxy.Addr(), Prefix: prefix})
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
