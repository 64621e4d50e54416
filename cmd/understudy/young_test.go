package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// TestFirstHandoff asks processes that have just begun. Everything is read anew once in a
// ttl, which is twice what the handoff may take: the request is seen by itself.
func TestFirstHandoff(t *testing.T) {
	onServers(t, func(t *testing.T, r *trio) {
		r.ttl = time.Minute
		r.start("a")
		now := r.active(0)
		r.start("b")
		r.inLine(1)
		r.expect(0, "r: a -> b", "handoff", "--role", "r", "--timeout", "30s")
		if now = r.active(now.token); now.id != "b" {
			t.Errorf("%s works, want b", now.id)
		}
		r.judge()
	})
}

// TestProofOutlivesItsLease kills a sole contender, whose witness ends its session, and
// revokes every lease then, which is what their expiry does. The death stays proved: nobody
// is called active, and a restart waits for nothing.
func TestProofOutlivesItsLease(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = 5 * time.Minute
	r.start("a")
	now := r.active(0)
	r.kill("a", syscall.SIGKILL)
	r.awaitLog("a", "the process is dead, its session is ended") // and the proof of it is kept
	etcd, err := clientv3.New(clientv3.Config{Endpoints: r.store.Etcd.Endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	all, err := etcd.Leases(t.Context())
	if err != nil || len(all.Leases) == 0 {
		t.Fatalf("%d leases: %v", len(all.Leases), err)
	}
	for _, l := range all.Leases {
		if _, err := etcd.Revoke(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
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
}
