package admin

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
)

// TestLive: a process whose loop hangs, or whose work outlives its promise, is not alive; one that is only cut off is.
func TestLive(t *testing.T) {
	for name, one := range map[string]struct {
		hangs, outlives bool
		why             string // of /livez in the end; "": it is alive
	}{
		"cut off":  {},
		"hangs":    {hangs: true, why: "the coordinator hangs"},
		"outlives": {outlives: true, why: "has outlived its promise by "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var hang atomic.Bool
				release := make(chan struct{})
				work := untilTold
				if one.outlives {
					work = func(context.Context, coordinator.Term) error { <-release; return nil }
				}
				c := contendWith(t, memory.New(), "a", func(c *coordinator.Config) {
					c.OnDeadline = func(coordinator.Instant) {
						if hang.Load() {
							<-release
						}
					}
				}, work, "r")
				expect := func(path string, code int, why string) {
					t.Helper()
					if w := c.ask("GET", path); w.Code != code || !strings.Contains(w.Body.String(), why) {
						t.Errorf("%s: %d %s, want %d %s", path, w.Code, w.Body, code, why)
					}
				}
				time.Sleep(time.Minute)
				expect("/livez", http.StatusOK, "")
				expect("/active", http.StatusOK, "")
				hang.Store(one.hangs)
				c.cut.Store(!one.hangs)
				time.Sleep(20 * time.Second) // the promise is over
				expect("/active", http.StatusServiceUnavailable, "")
				if one.why == "" {
					expect("/livez", http.StatusOK, "")
				} else {
					expect("/livez", http.StatusServiceUnavailable, one.why)
					expect("/readyz", http.StatusServiceUnavailable, "")
				}
				hang.Store(false)
				c.cut.Store(false)
				close(release)
				time.Sleep(time.Minute)
				expect("/livez", http.StatusOK, "")
				must(t, c.stop())
			})
		})
	}
}

// TestDraining: while the work is told to stop and has not returned, HAProxy hears of it; and how long that took is counted.
func TestDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := contendWith(t, memory.New(), "a", nil, func(ctx context.Context, _ coordinator.Term) error {
			<-ctx.Done()
			time.Sleep(2 * time.Second)
			return nil
		}, "r")
		expect := func(want string) {
			t.Helper()
			if got := advice(c.Monitor, "r"); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		time.Sleep(time.Minute)
		expect("up ready")
		ended := make(chan error)
		go func() { ended <- c.stop() }()
		time.Sleep(time.Second)
		expect("drain")
		must(t, <-ended)
		if d := c.Process().Drains; d.Count != 1 || d.Sum != 2*time.Second {
			t.Errorf("%d drains of %v, want one of 2s", d.Count, d.Sum)
		}
		if w := c.ask("GET", "/metrics"); !strings.Contains(w.Body.String(), "\nunderstudy_drain_duration_seconds_sum 2\n") {
			t.Errorf("the metrics do not have it:\n%s", w.Body)
		}
	})
}
