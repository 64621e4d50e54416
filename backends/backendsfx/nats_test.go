//go:build nats

package backendsfx_test

import (
	"testing"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/backendsfx"
	"github.com/understudy-ha/understudy/backends/nats"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestNATS is TestModules for NATS.
func TestNATS(t *testing.T) {
	c := nats.Config{MayForget: true}
	c.Use(serve.Start(t, "nats", 1, servers.Options{}).Members[0].Addr())
	for i, option := range []fx.Option{
		fx.Options(backendsfx.NATS, fx.Supply(c)),
		fx.Options(backendsfx.Module, fx.Supply(backends.Config{Backend: "nats", NATS: c})),
	} {
		keepsAllButValues(t, rune('r'+i), option)
	}
}
