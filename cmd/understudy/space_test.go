package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestEtcdWithoutSpace fills etcd up to its quota: leases can still be kept alive, but no beat can be
// written. So the active stops, everybody says why in etcd's words, and somebody works again once
// there is room and the alarm was disarmed, without a restart.
func TestEtcdWithoutSpace(t *testing.T) {
	t.Parallel()
	r := newTrioOn(t, func(r *trio) (c backends.Config, flags []string) {
		var err error
		r.cluster, err = servers.StartEtcd(lab.Within(t, time.Minute), filepath.Join(r.dir, onEtcd), 1,
			servers.Options{Args: []string{"--quota-backend-bytes", fmt.Sprint(8 << 20)}})
		lab.Must(t, err)
		t.Cleanup(r.cluster.Stop)
		c.Etcd.Endpoints = []string{r.cluster.Members[0].Addr()}
		return c, []string{"--backend", onEtcd, "--etcd-endpoints", c.Etcd.Endpoints[0]}
	})
	r.startAll("--heartbeat", "200ms")
	now := r.settled()

	ctx := lab.Within(t, 2*time.Minute)
	etcd, err := clientv3.New(clientv3.Config{Endpoints: r.store.Etcd.Endpoints, Logger: zap.NewNop()})
	lab.Must(t, err)
	defer etcd.Close()
	for err == nil {
		_, err = etcd.Put(ctx, "ballast", string(make([]byte, 1<<20)))
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatal(err)
	}
	r.awaitIdle()
	for _, id := range r.ids {
		r.awaitLog(id, "database space exceeded")
	}
	r.expect(cli.NotDone, "out of space, so every write is refused", "status", "--role", "r")
	r.expect(cli.Unavailable, "it refuses every write: make room, then etcdctl alarm disarm", "pause", "--role", "r")
	r.expect(cli.Unavailable, "it refuses every write: make room, then etcdctl alarm disarm", "handoff", "--role", "r", "--timeout", "1m")
	r.expect(0, "Nobody can beat or take over: the store etcd: out of space, so every write is refused: make room, then etcdctl alarm disarm", "why", "--role", "r")

	gone, err := etcd.Delete(ctx, "ballast")
	lab.Must(t, err)
	_, err = etcd.Compact(ctx, gone.Header.Revision, clientv3.WithCompactPhysical())
	lab.Must(t, err)
	_, err = etcd.Defragment(ctx, etcd.Endpoints()[0])
	lab.Must(t, err)
	_, err = etcd.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	lab.Must(t, err)
	r.active(now.token)
	r.judge()
}
