package etcd_test

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestObserveTellsTheEndOfAnOutage: when the store answers again the term is told again,
// though nothing has changed.
func TestObserveTellsTheEndOfAnOutage(t *testing.T) {
	t.Parallel()
	p, err := servers.StartProxy(start(t, 1).Members[0].Addr())
	must(t, err)
	t.Cleanup(p.Close)
	l, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{p.Addr()}})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	var steps []string
	for _, err := range coordinator.Observe(within(t, 30*time.Second), l, "r") {
		switch {
		case err == nil && len(steps) == 0:
			steps = append(steps, "well")
			p.Refuse()
			p.Reset()
		case err != nil && len(steps) == 1:
			steps = append(steps, "out")
			must(t, p.Accept())
		case err == nil && len(steps) == 2:
			return
		default:
			t.Fatalf("after %v: error %v", steps, err)
		}
	}
	t.Fatalf("nothing was told after %v", steps)
}
