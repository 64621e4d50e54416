//go:build postgres

package backendsfx_test

import (
	"testing"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/backendsfx"
	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestPostgres is TestModules for PostgreSQL.
func TestPostgres(t *testing.T) {
	var c postgres.Config
	c.Use(serve.Start(t, "postgres", 1, servers.Options{}).Members[0].Addr())
	for i, option := range []fx.Option{
		fx.Options(backendsfx.Postgres, fx.Supply(c)),
		fx.Options(backendsfx.Module, fx.Supply(backends.Config{Backend: "postgres", Postgres: c})),
	} {
		keepsAllButValues(t, rune('r'+i), option)
	}
}
