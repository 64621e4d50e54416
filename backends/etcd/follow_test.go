package etcd

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestPasswordChanges: a new password in the file is used when the old one is
// refused, without a restart.
func TestPasswordChanges(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, servers.Options{})
	ctx := timeout(t, 30*time.Second)
	enableAuth(ctx, t, c)
	file := secret(t, "rootpw")
	l := open(t, Config{Endpoints: endpoints(c), Username: "root", PasswordFile: file})
	must(t, walk(t, l, "a"))
	admin := raw(t, clientv3.Config{Endpoints: endpoints(c), Username: "root", Password: "rootpw"})
	_, err := admin.UserChangePassword(ctx, "root", "changed")
	must(t, err)
	must(t, os.WriteFile(file, []byte("changed\n"), 0o600))
	for n := 0; ; n++ { // one call meets the refusal
		if err = l.Raise(ctx, 1); err == nil || n == 3 {
			break
		}
		if errors.Is(err, lock.ErrPermanent) {
			t.Errorf("a token that expired is no reason to give up: %v", err)
		}
	}
	must(t, err)
}

// TestFollow is what package kv cannot bring about by itself: a revision that was
// compacted, and a watch that is cut.
func TestFollow(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, servers.Options{})
	proxy, err := servers.StartProxy(c.Members[0].Addr())
	must(t, err)
	t.Cleanup(proxy.Close)
	s := newStore(Config{Endpoints: []string{proxy.Addr()}})
	t.Cleanup(func() { must(t, s.Close()) })
	ctx := timeout(t, 30*time.Second)
	var last uint64
	for range 3 {
		r, err := s.Commit(ctx, kv.Txn{Writes: []kv.Write{{Key: "x/y", Value: []byte("z")}}})
		must(t, err)
		last = r.Revision
	}
	seen := func(ctx context.Context, after uint64, stop bool) (n int, err error) {
		for _, err := range s.Follow(ctx, kv.View{Revision: after}, "x/", "other") {
			if err != nil {
				return n, err
			}
			if n++; stop {
				return n, nil
			}
		}
		return n, nil
	}
	if n, err := seen(ctx, last-1, true); n != 1 || err != nil {
		t.Errorf("%d changes, %v", n, err)
	}
	_, err = raw(t, clientv3.Config{Endpoints: endpoints(c)}).Compact(ctx, int64(last))
	must(t, err)
	if _, err := seen(ctx, 1, false); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("compacted: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond) // etcd looks for late watches every 100 ms
	defer cancel()
	if n, err := seen(short, last-1, false); n != 1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a context that ends: %d changes, %v", n, err)
	}
	cut := make(chan error)
	go func() { _, err := seen(ctx, last, false); cut <- err }()
	// The watch stands when it has shown a change; then it is cut.
	first := make(chan struct{})
	go func() { _, _ = seen(ctx, last, true); close(first) }()
	for stands := false; !stands; {
		_, err := s.Commit(ctx, kv.Txn{Writes: []kv.Write{{Key: "x/y", Value: []byte("z")}}})
		must(t, err)
		select {
		case <-first:
			stands = true
		default:
		}
	}
	proxy.Refuse()
	proxy.Reset()
	begin := time.Now()
	if err := <-cut; err == nil || ctx.Err() != nil || time.Since(begin) > time.Second {
		t.Errorf("cut: %v after %v", err, time.Since(begin))
	}
}
