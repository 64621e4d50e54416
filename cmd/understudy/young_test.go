package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// TestFirstHandoff asks processes that have just begun. Everything is read anew once in a
// ttl, which is far more than the handoff may take: the request is seen by itself, and the first handoff is
// as prompt as a later one.
func TestFirstHandoff(t *testing.T) {
	onEveryStore(t, func(t *testing.T, r *trio) {
		r.ttl = 40 * time.Second
		r.startAll()
		now := r.active(0)
		r.inLine(2)
		for _, which := range []string{"first", "second", "third"} {
			began := time.Now()
			r.handoff()
			next := r.active(now.token)
			if took := time.Since(began); took > promptly {
				t.Errorf("the %s handoff took %v", which, took)
			}
			if next.id == now.id {
				t.Errorf("%s works, which handed over", next.id)
			}
			now = next
			r.inLine(2)
		}
		r.judge()
	})
}

// promptly is far longer than a handoff takes on a busy machine, and far shorter than the time until the next full read.
const promptly = 2 * time.Second

// TestProofOutlivesItsLease kills a sole contender, whose witness ends its session, and
// revokes every lease then, which is what their expiry does. The death stays proved: nobody
// is called active, and a restart waits for nothing.
func TestProofOutlivesItsLease(t *testing.T) {
	onServers(t, func(t *testing.T, r *trio) {
		r.ttl = 5 * time.Minute
		r.start("a")
		now := r.active(0)
		r.kill("a", syscall.SIGKILL)
		r.awaitLog("a", "the process is dead, its session is ended") // and the proof of it is kept
		if n := map[string]func(r *trio) int{onEtcd: revokeLeases, onConsul: destroySessions}[r.store.Backend](r); n == 0 {
			t.Fatal("there are no leases")
		}
		if _, out := r.operate("status", "--role", "r"); strings.Contains(out, "a   active") || !strings.Contains(out, "ended") {
			t.Errorf("after its leases are gone:\n%s", out)
		}
		r.start("a")
		if next := r.active(now.token); next.id != "a" {
			t.Errorf("%s works, want a", next.id)
		}
		r.kill("a", syscall.SIGTERM) // or its witness would go on trying for the whole ttl
		r.judge()
	})
}

// revokeLeases revokes every lease of etcd, and returns how many there were.
func revokeLeases(r *trio) int {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: r.store.Etcd.Endpoints, Logger: zap.NewNop()})
	must(r.t, err)
	defer etcd.Close()
	all, err := etcd.Leases(r.t.Context())
	must(r.t, err)
	for _, l := range all.Leases {
		_, err := etcd.Revoke(r.t.Context(), l.ID)
		must(r.t, err)
	}
	return len(all.Leases)
}

// destroySessions destroys every session of Consul, and returns how many there were.
func destroySessions(r *trio) int {
	c, err := api.NewClient(&api.Config{Address: r.store.Consul.Address})
	must(r.t, err)
	all, _, err := c.Session().List(nil)
	must(r.t, err)
	for _, s := range all {
		_, err := c.Session().Destroy(s.ID, nil)
		must(r.t, err)
	}
	return len(all)
}
