package fencingtest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/guards"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

var must, within, wantStale = lab.Must, lab.Within, guards.WantStale

func TestMain(m *testing.M) { guards.Main(m, childVariable, contend, stopServers) }

// shared are the servers of all tests, each started when it is first needed.
var shared struct {
	sync.Mutex
	clusters map[string]*servers.Cluster
	dirs     []string
}

func stopServers() {
	for _, c := range shared.clusters {
		c.Stop()
	}
	for _, dir := range shared.dirs {
		_ = os.RemoveAll(dir)
	}
}

// server returns the address of the shared server of a store.
func server(t testing.TB, store string) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	c := shared.clusters[store]
	if c == nil {
		dir, err := os.MkdirTemp("", "fencing-"+store)
		must(t, err)
		shared.dirs = append(shared.dirs, dir)
		start := servers.StartEtcd
		if store == "consul" {
			start = servers.StartConsul
		}
		c, err = start(within(t, time.Minute), dir, 1, servers.Options{})
		must(t, err)
		if shared.clusters == nil {
			shared.clusters = map[string]*servers.Cluster{}
		}
		shared.clusters[store] = c
	}
	return c.Members[0].Addr()
}

// prefix is a prefix of one test's own.
func prefix(t testing.TB) string { return strings.ReplaceAll(t.Name(), "/", "-") }

// storeOf is the configuration of a store for one test. With Raft it is that of the
// node i of three.
func storeOf(t testing.TB, store string, peers []raft.Peer, i int) backends.Config {
	t.Helper()
	switch store {
	case "etcd":
		return backends.Config{Backend: store, Etcd: etcd.Config{Endpoints: []string{server(t, store)}, Prefix: prefix(t)}}
	case "consul":
		return backends.Config{Backend: store, Consul: consul.Config{Address: server(t, store), Prefix: prefix(t)}}
	}
	return backends.Config{Backend: store, Raft: raft.Config{ID: peers[i].ID, Dir: t.TempDir(), Peers: peers, Timing: 200 * time.Millisecond}}
}

func etcdClient(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := dialEtcd(server(t, "etcd"))
	must(t, err)
	t.Cleanup(func() { _ = c.Close() }) // it has nothing to say
	return c
}

func dialEtcd(address string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{address}, Logger: zap.NewNop()})
}

func consulClient(t testing.TB) *api.Client {
	t.Helper()
	c, transport, err := dialConsul(server(t, "consul"))
	must(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	return c
}

func dialConsul(address string) (*api.Client, *http.Transport, error) {
	transport := &http.Transport{}
	c, err := api.NewClient(&api.Config{Address: address, HttpClient: &http.Client{Transport: transport}})
	return c, transport, err
}

// A contest is a role r for which sessions follow one another, without a coordinator.
type contest struct {
	testing.TB
	lock.Locker
	next int
}

func newContest(t testing.TB, c backends.Config) *contest {
	t.Helper()
	l, err := backends.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return &contest{TB: t, Locker: l}
}

// term begins the next term of role r, and returns its session.
func (c *contest) term() (lock.Session, lock.Token) {
	c.Helper()
	c.next++
	id := fmt.Sprint("s", c.next)
	s, err := c.Register(within(c, time.Minute), lock.Contender{ID: id, Session: lock.SessionID(id)}, lock.Promise{TTL: time.Hour, Skew: time.Minute}, lock.Bid{Role: "r"})
	must(c, err)
	token, err := s.TryAcquire(within(c, time.Minute), "r")
	must(c, err)
	return s, token
}

// over goes through a term that is released, and begins after the floor was raised. Each
// write is by a guard that under makes for a token, and remove deletes the role's record, as
// an operator should not.
func (c *contest) over(under func(lock.Token) (write func() error), remove func() error) {
	c.Helper()
	ctx := within(c, time.Minute)
	wantStale(c, under(1)(), 1, 0)
	if err := under(0)(); !errors.Is(err, lock.ErrPermanent) {
		c.Fatalf("without a token: %v", err)
	}
	must(c, c.Raise(ctx, 1<<40))
	s, token := c.term()
	if token <= 1<<40 {
		c.Fatalf("token %d", token)
	}
	write := under(token)
	for range 2 {
		must(c, write())
	}
	must(c, s.Release(ctx, "r", token))
	wantStale(c, write(), token, token)
	wantStale(c, under(token)(), token, token)
	must(c, remove())
	wantStale(c, write(), token, 0)
}

// evict ends a session that holds the role, which it is not asked about.
func (c *contest) evict(s lock.Session) {
	c.Helper()
	for st, err := range c.Watch(within(c, time.Minute), "r") {
		if err == nil && st.Term.Holder.Session == s.ID() {
			must(c, c.Evict(within(c, time.Minute), s.ID(), st.Term.Holder.Beat, lock.End{By: "test", Why: "said so"}))
			return
		}
	}
	c.Fatal("the session never held the role")
}
