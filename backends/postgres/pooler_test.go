//go:build postgres

package postgres_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// pooler starts PgBouncer in transaction mode before the server.
func (r *rig) pooler(connections int) *servers.Member {
	r.Helper()
	c, err := servers.StartPooler(within(r, time.Minute), r.Members[0], connections, "billing", "postgres")
	must(r, err)
	r.Cleanup(c.Stop)
	return c.Members[0]
}

// lines are what a Locker says.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) poolers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), "a pooler stands before PostgreSQL")
}

// TestPooler: a pooler in transaction mode brings notifications to whom they are not meant for. So behind
// one nobody asks for them: the row is read again and again, which is said once, also where the
// connections are lost and made anew.
func TestPooler(t *testing.T) {
	r := start(t)
	pooler, ctx := r.pooler(1), within(t, 3*time.Minute)
	for name, one := range map[string]struct {
		at   *servers.Member
		says int
	}{"pooler": {pooler, 1}, "direct": {r.Members[0], 0}} {
		t.Run(name, func(t *testing.T) {
			var said lines
			c := config(name, one.at)
			c.Logger = slog.New(slog.NewTextHandler(&said, nil))
			s := registerFor(t, ctx, open(t, config(name, one.at)), "a", time.Minute) // without a notification its roles are read every 10 s
			shown := make(chan lock.Token)
			watched, cancel := context.WithCancel(ctx)
			var group sync.WaitGroup
			group.Go(func() { show(watched, open(t, c), shown) })
			defer group.Wait()
			defer cancel()
			for n := range 4 {
				if n == 2 {
					if n := handAs(t, "billing", one.at, "understudy", "select count(*) from pg_listening_channels()"); n != "0" {
						t.Errorf("a connection that everybody shares listens to %s channels", n)
					}
					r.hand("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'billing'")
				}
				token := acquire(t, ctx, s)
				for late := time.After(5 * time.Second); ; {
					select {
					case seen := <-shown:
						if seen < token {
							continue
						}
					case <-late:
						t.Errorf("change %d does not show", n)
					}
					break
				}
				must(t, until(ctx, func(ctx context.Context) error { return s.Release(ctx, "r", token) }))
			}
			if n := said.poolers(); n != one.says {
				t.Errorf("it is said %d times that a pooler is there, want %d", n, one.says)
			}
		})
	}
}

// show sends each token that a watch sees.
func show(ctx context.Context, l lock.Locker, shown chan<- lock.Token) {
	for st, err := range l.Watch(ctx, "r") {
		if err != nil {
			continue
		}
		select {
		case shown <- st.Term.Token:
		case <-ctx.Done():
			return
		}
	}
}

// acquire takes the role, however long the store is away.
func acquire(t testing.TB, ctx context.Context, s lock.Session) (token lock.Token) {
	t.Helper()
	must(t, until(ctx, func(ctx context.Context) (err error) {
		token, err = s.TryAcquire(ctx, "r")
		return err
	}))
	return token
}
