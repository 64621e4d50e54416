package etcd

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestTokenExpires lets every token expire before each takeover: no call fails for that,
// and what a watch must follow from then on it follows without an error.
func TestTokenExpires(t *testing.T) {
	const life = 2 * time.Second
	c := cluster(t, 1, servers.Options{Args: []string{"--auth-token-ttl=2", "--bcrypt-cost=4"}})
	ctx := timeout(t, time.Minute)
	enableAuth(ctx, t, c)
	config := Config{Endpoints: endpoints(c), Username: "root", Password: "rootpw"}
	promise := lock.Promise{TTL: time.Hour, Skew: time.Minute} // nothing is read again for long
	asked := asked(ctx, t, c)
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
	// Twice what two expiries were seen to cost three processes. A refused watch that is begun again and again, with all that
	// is read for it, costs that in two seconds.
	for method, most := range map[string]int{"Watch": 20, "Range": 42, "Txn": 42, "Authenticate": 16} {
		if n := asked(method); n > most {
			t.Errorf("%s was asked for %d times, want at most %d", method, n, most)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errs) > 0 {
		t.Errorf("the watch failed %d times, first with %v", len(w.errs), w.errs[0])
	}
}

// asked counts from now on how many requests of a method an etcd server gets: what its metrics say.
func asked(ctx context.Context, t *testing.T, c *servers.Cluster) (since func(method string) int) {
	t.Helper()
	count := func(method string) (sum int) {
		for line := range strings.Lines(metrics(ctx, t, c)) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), "} "); strings.HasPrefix(name, "grpc_server_msg_received_total{") && strings.Contains(name, `grpc_method="`+method+`"`) {
				n, err := strconv.ParseFloat(value, 64)
				must(t, err)
				sum += int(n)
			}
		}
		return sum
	}
	before := map[string]int{}
	for _, method := range []string{"Watch", "Range", "Txn", "Authenticate"} {
		before[method] = count(method)
	}
	return func(method string) int { return count(method) - before[method] }
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
