//go:build postgres

package postgres_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestRefusedLogin: a server that lets the user in no more, or has no connection left for it, is asked
// rarely, and says why. The first beat after it does again is acknowledged.
func TestRefusedLogin(t *testing.T) {
	for name, c := range map[string]struct{ refuse, allow, says string }{
		"login": {"alter role billing nologin", "alter role billing login", "not permitted to log in"},
		"limit": {"alter role billing connection limit 0", "alter role billing connection limit -1", "too many connections"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			ctx, l := within(t, time.Minute), open(t, config("g", r.Members[0]))
			s := register(t, ctx, l, "a")
			go func() {
				for range l.Watch(ctx, "r") { //nolint:revive // it is followed
				}
			}()
			must(t, until(ctx, beat(s)))
			r.hand("postgres", c.refuse)
			r.hand("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'billing'")
			tries := 0
			for until := time.Now().Add(10 * time.Second); time.Now().Before(until); tries++ {
				short, cancel := context.WithTimeout(ctx, 1250*time.Millisecond)
				err := s.Beat(short)
				cancel()
				if lock.OutcomeOf(err) != lock.Unknown || tries > 0 && (!errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("beat %d: %v", tries, err)
				}
			}
			text, err := os.ReadFile(r.Members[0].Log())
			must(t, err)
			if n := strings.Count(string(text), c.says); n < 5 || n > 50 {
				t.Errorf("%d connections were refused within 10 s, want 5 to 50", n)
			}
			r.hand("postgres", c.allow)
			must(t, s.Beat(within(t, 5*time.Second)))
		})
	}
}
