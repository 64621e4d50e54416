package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// TestRestoredAnew restores a snapshot into new servers while contenders run. It is still their store, whatever the servers
// call it, and they go on by themselves.
func TestRestoredAnew(t *testing.T) {
	onServers(t, func(t *testing.T, r *trio) {
		r.ttl = 5 * time.Second
		r.startAll()
		now := r.settled()
		identity := r.identity()
		anew[r.store.Backend](r)()
		r.handOver()
		r.handOver()
		if next := r.settled(); next.token <= now.token {
			t.Errorf("token %d after %d", next.token, now.token)
		}
		if got := r.identity(); got != identity {
			t.Errorf("the store is %s, and was %s", got, identity)
		}
		r.finish()
	})
}

// TestRestoredAnewToAnEarlierState: if the role moved after the snapshot, contenders that saw the move wait for an operator.
func TestRestoredAnewToAnEarlierState(t *testing.T) {
	onServers(t, func(t *testing.T, r *trio) { testRolledBack(t, r, true, anew[r.store.Backend]) })
}

// identity is that of the trio's store.
func (r *trio) identity() string {
	r.t.Helper()
	_, text := r.operate("status", "--role", "r")
	found := regexp.MustCompile(`store \w+ (\w+)`).FindStringSubmatch(text)
	if found == nil {
		r.t.Fatalf("status names no store:\n%s", text)
	}
	return found[1]
}

// anew has a function for each store that takes a snapshot. It returns what restores the snapshot into empty servers.
var anew = map[string]func(r *trio) (restore func()){onEtcd: etcdAnew, onConsul: consulAnew}

func etcdAnew(r *trio) (restore func()) {
	c, err := clientv3.New(clientv3.Config{Endpoints: r.store.Etcd.Endpoints, Logger: zap.NewNop()})
	must(r.t, err)
	r.t.Cleanup(func() { _ = c.Close() })
	clusterID := func() uint64 {
		members, err := c.MemberList(r.t.Context())
		must(r.t, err)
		return members.Header.ClusterId
	}
	was, file := clusterID(), filepath.Join(r.t.TempDir(), "snapshot")
	from, err := c.Snapshot(r.t.Context())
	must(r.t, err)
	defer from.Close()
	kept, err := io.ReadAll(from)
	must(r.t, err)
	must(r.t, os.WriteFile(file, kept, 0o600))
	return func() {
		m := r.cluster.Members[0]
		restart(r.t, m, func() error { return m.RestoreEtcd(r.t.Context(), file) })
		if now := clusterID(); now == was {
			r.t.Errorf("the cluster has the ID %x, as before", now)
		}
	}
}

func consulAnew(r *trio) (restore func()) {
	c, err := api.NewClient(&api.Config{Address: r.store.Consul.Address})
	must(r.t, err)
	from, _, err := c.Snapshot().Save(nil)
	must(r.t, err)
	defer from.Close()
	kept, err := io.ReadAll(from)
	must(r.t, err)
	return func() {
		m := r.cluster.Members[0]
		restart(r.t, m, func() error { return os.RemoveAll(m.Data()) })
		must(r.t, c.Snapshot().Restore(nil, bytes.NewReader(kept)))
	}
}
