package etcd_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab"
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
	next   int

	user, password     string // of the Lockers of the suite, and the file that it stands in; "": none
	root, rootPassword string // of the hand
}

func start(t testing.TB, n int) *servers.Cluster {
	t.Helper()
	c, err := servers.StartEtcd(within(t, time.Minute), t.TempDir(), n, servers.Options{})
	must(t, err)
	t.Cleanup(c.Stop)
	return c
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

// long is a promise that no test waits out.
var long = lock.Promise{TTL: time.Hour, Skew: time.Minute}

// join registers a contender under a session ID of its own. It bids for role r.
func (r *rig) join(l lock.Locker, id string) lock.Session {
	r.Helper()
	s, err := l.Register(r.ctx, r.contender(id), long, lock.Bid{Role: "r"})
	must(r, err)
	return s
}

func (r *rig) contender(id string) lock.Contender {
	r.next++
	return lock.Contender{ID: id, Address: id + ":1", Session: lock.SessionID(fmt.Sprintf("%s-%d", id, r.next))}
}

// acquire takes role r.
func (r *rig) acquire(s lock.Session) lock.Token {
	r.Helper()
	t, err := s.TryAcquire(r.ctx, "r")
	must(r, err)
	return t
}

// A view is a watch that runs, and what it showed last of role r.
type view struct {
	*rig
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	last    lock.Standing
	count   int
	failed  []error
	changed chan struct{}
}

func (r *rig) view(l lock.Locker) *view {
	ctx, cancel := context.WithCancel(r.ctx)
	v := &view{rig: r, cancel: cancel, ended: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(v.ended)
		for st, err := range l.Watch(ctx, "r") {
			v.mu.Lock()
			if err != nil {
				v.failed = append(v.failed, err)
			} else {
				v.last, v.count = st, v.count+1
			}
			close(v.changed)
			v.changed = make(chan struct{})
			v.mu.Unlock()
		}
	}()
	r.Cleanup(func() { cancel(); <-v.ended })
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

func holds(s lock.Session) func(lock.Standing) bool {
	return func(st lock.Standing) bool { return !st.Term.Vacant() && st.Term.Holder.Session == s.ID() }
}

func vacant(st lock.Standing) bool { return st.Term.Token != 0 && st.Term.Vacant() }
