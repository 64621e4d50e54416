package etcd

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestRestoredUnderAnotherClusterID puts a cluster in the place of another one, at the same
// address. An empty one is refused; what was restored into it is accepted, whatever
// etcd's own ID is.
func TestRestoredUnderAnotherClusterID(t *testing.T) {
	t.Parallel()
	a, b := cluster(t, 1, servers.Options{}), cluster(t, 1, servers.Options{})
	var now atomic.Pointer[string]
	now.Store(&endpoints(a)[0])
	l := open(t, Config{Endpoints: endpoints(a), Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, *now.Load())
	}})
	ctx := timeout(t, 30*time.Second)
	join := func(id lock.SessionID) (lock.Session, error) {
		return l.Register(ctx, lock.Contender{ID: string(id), Session: id}, lock.Promise{TTL: time.Minute}, lock.Bid{Role: "r"})
	}
	s, err := join("a-1")
	must(t, err)
	token, err := s.TryAcquire(ctx, "r")
	must(t, err)
	old := newStore(Config{Endpoints: endpoints(a)})
	backup, err := old.Read(ctx, kv.DefaultPrefix+"state/")
	must(t, err)
	must(t, old.Close())

	now.Store(&endpoints(b)[0])
	a.Stop()
	eventually := func(named error) {
		t.Helper()
		for err = errors.ErrUnsupported; !errors.Is(err, named) || named == nil && err != nil; time.Sleep(20 * time.Millisecond) { // until the client has tried the other cluster
			if _, err = join(lock.SessionID("b-" + time.Now().String())); ctx.Err() != nil || named != nil && err == nil {
				t.Fatalf("%v, want %v", err, named)
			}
		}
	}
	eventually(lock.ErrOtherStore)

	restored := newStore(Config{Endpoints: endpoints(b)})
	defer func() { must(t, restored.Close()) }()
	var all []kv.Write
	for _, r := range backup.Records {
		all = append(all, kv.Write{Key: r.Key, Value: r.Value})
	}
	_, err = restored.Commit(ctx, kv.Txn{Writes: all})
	must(t, err)
	eventually(nil)
	for st, err := range l.Watch(ctx, "r") {
		if err == nil && st.Term.Holder.Session == "a-1" { // its tokens are another matter: see ErrRolledBack
			t.Logf("token %d, and it was %d", st.Term.Token, token)
			return
		}
	}
	t.Error("the role is not shown")
}
