package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// want fails unless err is the named error.
func want(t testing.TB, err, named error) {
	t.Helper()
	if !errors.Is(err, named) {
		t.Fatalf("got %v, want %v", err, named)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

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

	user, password string // of the Lockers of the suite, and the file that it stands in; "": none
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

// until returns the first standing of role r that is as it should be.
func (r *rig) until(l lock.Locker, what string, good func(lock.Standing) bool) lock.Standing {
	r.Helper()
	var last lock.Standing
	for st, err := range l.Watch(within(r, 20*time.Second), "r") {
		if last = st; err == nil && good(st) {
			return st
		}
	}
	r.Fatalf("no standing %s; the last one: %+v", what, last)
	return last
}

func (r *rig) now(l lock.Locker) lock.Standing {
	r.Helper()
	return r.until(l, "at all", func(lock.Standing) bool { return true })
}

// get returns the value of a key under the prefix, and its revision.
func (r *rig) get(key string) (string, int64) {
	r.Helper()
	g, err := r.hand.Get(r.ctx, r.prefix+key)
	must(r, err)
	if len(g.Kvs) == 0 {
		return "", 0
	}
	return string(g.Kvs[0].Value), g.Kvs[0].ModRevision
}

func (r *rig) put(key, value string) {
	r.Helper()
	_, err := r.hand.Put(r.ctx, r.prefix+key, value)
	must(r, err)
}

func (r *rig) remove(key string) {
	r.Helper()
	_, err := r.hand.Delete(r.ctx, r.prefix+key)
	must(r, err)
}

// revoke ends the lease that a key hangs on, by hand.
func (r *rig) revoke(key string) {
	r.Helper()
	g, err := r.hand.Get(r.ctx, r.prefix+key)
	must(r, err)
	if len(g.Kvs) == 0 || g.Kvs[0].Lease == 0 {
		r.Fatalf("%s hangs on no lease", key)
	}
	_, err = r.hand.Revoke(r.ctx, clientv3.LeaseID(g.Kvs[0].Lease))
	must(r, err)
}
