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
