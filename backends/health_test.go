package backends_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestHealth: a store of three members that loses one says which, and that no other may fail.
func TestHealth(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func([]string) backends.Config{
		"etcd": func(at []string) backends.Config {
			return backends.Config{Backend: "etcd", Etcd: etcd.Config{Endpoints: at}}
		},
		"consul": func(at []string) backends.Config {
			return backends.Config{Backend: "consul", Consul: consul.Config{Address: at[0]}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve.Start(t, name, 3, servers.Options{})
			var at []string
			for _, m := range c.Members {
				at = append(at, m.Addr())
			}
			store := config(at)
			health := func() (h backends.Health) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				h, err := store.Row().Health(ctx, store)
				if err != nil {
					t.Log(err)
				}
				return h
			}
			// Consul takes a dead server off the list where the others are enough.
			margin := func(want int) func() bool {
				return func() bool {
					h := health()
					n, known := h.Margin()
					return known && n == want && len(h.Members)-len(h.Silent) == 2+want && h.Leader != ""
				}
			}
			lab.Eventually(t, "one may fail", margin(1))
			c.Members[2].Kill() // not the first, which Consul's client asks
			lab.Eventually(t, "none may fail", margin(0))
		})
	}
}
