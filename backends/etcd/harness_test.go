package etcd_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

var must, within = lab.Must, lab.Within

// noLeak fails the test if what it starts from here on is not all stopped.
func noLeak(t testing.TB) {
	now := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, now) })
}

// A rig is a cluster, a prefix of one test's own, and a client by whose hand the
// test does what an operator could do.
type rig struct {
	testing.TB
	*servers.Cluster
	ctx    context.Context // of the whole test
	prefix string
	hand   *clientv3.Client

	user, password     string // of the Lockers of the suite, and the file that it stands in; "": none
	root, rootPassword string // of the hand
}

func start(t testing.TB, n int) *servers.Cluster {
	t.Helper()
	return serve.Start(t, "etcd", n, servers.Options{})
}

func newRig(t testing.TB, c *servers.Cluster) *rig {
	t.Helper()
	r := &rig{TB: t, Cluster: c, ctx: within(t, time.Minute), prefix: strings.ReplaceAll(t.Name(), "/", "-") + "/"}
	var err error
	r.hand, err = clientv3.New(clientv3.Config{Endpoints: r.endpoints(), Logger: zap.NewNop()})
	must(t, err)
	hand := r.hand                         // a test may take another
	t.Cleanup(func() { _ = hand.Close() }) // it has nothing to say
	return r
}

func (r *rig) endpoints() (all []string) {
	for _, m := range r.Members {
		all = append(all, m.Addr())
	}
	return all
}

// locker opens another Locker on the store.
func (r *rig) locker() lock.Locker {
	r.Helper()
	l, err := etcd.Open(r.ctx, etcd.Config{Endpoints: r.endpoints(), Prefix: strings.TrimSuffix(r.prefix, "/")})
	must(r, err)
	r.Cleanup(func() { must(r, l.Close()) })
	return l
}

// A view is a watch that runs, and what it showed last of role r.
type view struct {
	*rig

	mu      sync.Mutex
	last    lock.Standing
	count   int
	failed  []error
	changed chan struct{}
}

func (r *rig) view(l lock.Locker) *view {
	v := &view{rig: r, changed: make(chan struct{})}
	lab.Watch(r.ctx, r, l, func(st lock.Standing, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if err != nil {
			v.failed = append(v.failed, err)
		} else {
			v.last, v.count = st, v.count+1
		}
		close(v.changed)
		v.changed = make(chan struct{})
	})
	return v
}

// until waits until the view shows what is good, and returns how long that took.
func (v *view) until(what string, good func(lock.Standing) bool) time.Duration {
	v.Helper()
	begin := time.Now()
	timeout := time.After(20 * time.Second)
	for {
		v.mu.Lock()
		last, changed, failed := v.last, v.changed, v.failed
		v.mu.Unlock()
		if good(last) {
			return time.Since(begin)
		}
		select {
		case <-changed:
		case <-timeout:
			v.Fatalf("not %s within 20 s; the last standing: %+v; %v", what, last, failed)
		}
	}
}
