package etcd

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestTokenExpires lets every token expire before each takeover: no call fails for that,
// and what a watch must follow from then on it follows without an error.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	const life = 2 * time.Second
	c := cluster(t, 1, servers.Options{Args: []string{"--auth-token-ttl=2", "--bcrypt-cost=4"}})
	ctx := timeout(t, time.Minute)
	enableAuth(ctx, t, c)
	config := Config{Endpoints: endpoints(c), Username: "root", Password: "rootpw"}
	promise := lock.Promise{TTL: time.Hour, Skew: time.Minute} // nothing is read again for long
	var holder lock.Session
	watcher := open(t, config)
	w := watching(t, watcher)
	for n := range 2 {
		l := open(t, config)
		next, err := l.Register(ctx, lock.Contender{ID: string(rune('a' + n)), Session: lock.SessionID(rune('a' + n))}, promise, lock.Bid{Role: "r"})
		must(t, err)
		time.Sleep(2 * life) // until the server has dropped the token
		if holder != nil {
			must(t, holder.Close(ctx))
		}
		token, err := next.TryAcquire(ctx, "r")
		must(t, err)
		term := w.until(ctx, func(st lock.Standing) bool { return st.Term.Token == token && st.Term.Holder.Beat != lock.Absent })
		must(t, next.Beat(ctx))
		w.until(ctx, func(st lock.Standing) bool {
			return st.Term.Token == token && st.Term.Holder.Beat > term.Term.Holder.Beat
		})
		holder = next
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errs) > 0 {
		t.Errorf("the watch failed %d times, first with %v", len(w.errs), w.errs[0])
	}
}

// A watched is what one watch of the role r yields.
type watched struct {
	testing.TB
	mu   sync.Mutex
	last lock.Standing
	errs []error
}

func watching(t testing.TB, l lock.Locker) *watched {
	w := &watched{TB: t}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for st, err := range l.Watch(ctx, "r") {
			w.mu.Lock()
			if err != nil {
				w.errs = append(w.errs, err)
			} else {
				w.last = st
			}
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watched) until(ctx context.Context, good func(lock.Standing) bool) lock.Standing {
	w.Helper()
	for {
		w.mu.Lock()
		st := w.last
		w.mu.Unlock()
		switch {
		case good(st):
			return st
		case ctx.Err() != nil:
			w.Fatalf("the last standing is %+v", st)
		}
		time.Sleep(5 * time.Millisecond) // until the watch has shown more
	}
}
