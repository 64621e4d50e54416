package consul

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvtest"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

var must, timeout = lab.Must, lab.Within

// shared is a server for every test that does it no harm.
var shared *servers.Cluster

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "consul")
	if err == nil {
		shared, err = servers.StartConsul(context.Background(), dir, 1, servers.Options{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	shared.Stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// open opens a store; at the shared server where c does not name another.
func open(t testing.TB, c Config) *store {
	t.Helper()
	if c.Address == "" {
		c.Address = shared.Members[0].Addr()
	}
	s, err := newStore(c)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// start starts a server for one test.
func start(t testing.TB, n int, o servers.Options) *servers.Cluster {
	t.Helper()
	return serve.Start(t, "consul", n, o)
}

// put commits one put without a guard.
func put(ctx context.Context, s *store, key, value string, l kv.Lease) (uint64, error) {
	r, err := s.Commit(ctx, kv.Txn{Writes: []kv.Write{{Key: key, Value: []byte(value), Lease: l}}})
	return r.Revision, err
}

func TestStore(t *testing.T) { kvtest.Run(t, opener(t)) }
