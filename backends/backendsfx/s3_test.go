//go:build s3

package backendsfx_test

import (
	"testing"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/backendsfx"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestS3 is TestModules for S3.
func TestS3(t *testing.T) {
	c := stores.Start(t, "s3", t.TempDir()).Config.S3
	for i, option := range []fx.Option{
		fx.Options(backendsfx.S3, fx.Supply(c)),
		fx.Options(backendsfx.Module, fx.Supply(backends.Config{Backend: "s3", S3: c})),
	} {
		keepsAllButValues(t, rune('r'+i), option)
	}
}
