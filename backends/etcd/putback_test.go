package etcd_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestTokenOfAStorePutBack: etcd's token names the index at which it was given. A server that
// was put back to an earlier one lets whoever shows it wait until it gets there, which it may
// never. So a token is of one connection: a Locker that only watches sees the store that was
// put back, too.
func TestTokenOfAStorePutBack(t *testing.T) {
	ctx := within(t, time.Minute)
	r := restricted(t, serve.Start(t, "etcd", 1, servers.Options{Args: []string{"--bcrypt-cost=4"}}))
	open := func() lock.Locker {
		l, err := etcd.Open(ctx, etcd.Config{Endpoints: r.endpoints(), Username: r.user, PasswordFile: r.password})
		must(t, err)
		t.Cleanup(func() { must(t, l.Close()) })
		return l
	}
	session := func(id string) lock.Session {
		s, err := open().Register(ctx, lock.Contender{ID: id, Session: lock.SessionID(id)}, lock.Promise{TTL: time.Hour}, lock.Bid{Role: "r"})
		must(t, err)
		return s
	}
	first := session("a")
	token, err := first.TryAcquire(ctx, "r")
	must(t, err)
	restore, err := r.Save(ctx, t.TempDir())
	must(t, err)
	for first.Release(ctx, "r", token) != nil { // the server was stopped to be saved, and the connection is being made anew
		must(t, ctx.Err())
		time.Sleep(50 * time.Millisecond) // so that it is not asked all the time
	}
	for i := range 50 { // the token that comes next is of a later index than any that the store is put back to
		_, err := r.hand.Put(ctx, "other", fmt.Sprint(i))
		must(t, err)
	}
	watching, stop := context.WithTimeout(ctx, 9*time.Second) // less than after which all that hangs is given up
	defer stop()
	back := false
	for st, err := range open().Watch(watching, "r") {
		switch {
		case err != nil:
		case !back && st.Term.Vacant():
			back = true
			must(t, restore(ctx))
		case back && !st.Term.Vacant():
			return
		}
	}
	t.Errorf("put back: %v; the term that was put back is not shown", back)
}
