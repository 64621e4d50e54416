package consul

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/storebench"
	"github.com/understudy-ha/understudy/lock"
)

// BenchmarkCalls times each call of the contract beside the raw client.
func BenchmarkCalls(b *testing.B) {
	client, err := api.NewClient(&api.Config{Address: shared.Members[0].Addr()})
	must(b, err)
	l := kv.NewLocker(opener(b)(), "bench/"+rand.Text())
	defer func() { must(b, l.Close()) }()
	storebench.Calls(b, l, (&plain{client: client}).do)
}

// A plain does round trips by the client alone.
type plain struct {
	client  *api.Client
	session string
}

func (w *plain) do(trip string) (err error) {
	consistent := &api.QueryOptions{RequireConsistent: true}
	switch {
	case trip == "get":
		_, _, _, err = w.client.Txn().Txn(api.TxnOps{op(api.KVGetOrEmpty, "raw/a"), op(api.KVGetOrEmpty, "raw/b"), op(api.KVGetOrEmpty, "raw/c")}, consistent)
	case trip == "grant" || w.session == "":
		w.session, _, err = w.client.Session().CreateNoChecks(&api.SessionEntry{TTL: "60s", Behavior: api.SessionBehaviorDelete}, nil)
	case trip == "keep":
		_, _, err = w.client.Session().Renew(w.session, nil)
	default:
		put := op(api.KVSet, "raw/a")
		put.KV.Value = []byte(strings.Repeat(rand.Text(), 16))
		if trip == "swap" {
			_, _, _, err = w.client.Txn().Txn(api.TxnOps{
				op(api.KVCheckNotExists, "raw/b"), op(api.KVCheckNotExists, "raw/c"), op(api.KVCheckNotExists, "raw/d"), op(api.KVCheckNotExists, "raw/e"),
				put, op(api.KVDelete, "raw/c"), op(api.KVDelete, "raw/d"),
			}, consistent)
			return err
		}
		_, _, _, err = w.client.Txn().Txn(api.TxnOps{op(api.KVCheckNotExists, "raw/b"), put, op(api.KVDelete, "raw/c")}, consistent)
	}
	return err
}

func BenchmarkIdle(b *testing.B) { storebench.Idle(b, opener(b)) }

func BenchmarkTakeover(b *testing.B) { storebench.Takeover(b, opener(b)) }

// opener opens stores that whoever asks for them closes.
func opener(t testing.TB) func() kv.Store {
	return func() kv.Store {
		s, err := newStore(Config{Address: shared.Members[0].Addr()})
		must(t, err)
		return s
	}
}

// BenchmarkLeaderDies is how long beats stall when the leader of three servers is
// killed (raft_multiplier 1), beside how long a plain client's writes stall that are
// made as often meanwhile: the store's election.
func BenchmarkLeaderDies(b *testing.B) {
	c := start(b, 3, servers.Options{})
	storebench.Stall(b, func() (kill func(), beat, write func(context.Context) error, over func()) {
		leader, err := c.Leader(timeout(b, time.Minute))
		must(b, err)
		agent := c.Members[(leader+1)%3].Addr()
		l, err := Open(b.Context(), Config{Address: agent})
		must(b, err)
		s, err := l.Register(timeout(b, 10*time.Second), lock.Contender{ID: rand.Text(), Session: lock.SessionID(rand.Text())}, lock.Promise{TTL: time.Hour}, lock.Bid{Role: "r"})
		must(b, err)
		client, err := api.NewClient(&api.Config{Address: agent})
		must(b, err)
		write = func(ctx context.Context) error {
			_, err := client.KV().Put(&api.KVPair{Key: "elsewhere", Value: []byte(rand.Text())}, new(api.WriteOptions).WithContext(ctx))
			return err
		}
		over = func() {
			must(b, c.Members[leader].Restart(timeout(b, time.Minute)))
			must(b, l.Close())
		}
		return c.Members[leader].Kill, func(ctx context.Context) error { return s.Beat(ctx) }, write, over
	})
}
