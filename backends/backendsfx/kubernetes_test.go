//go:build kubernetes

package backendsfx_test

import (
	"testing"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/backendsfx"
	"github.com/understudy-ha/understudy/backends/kubernetes"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestKubernetes is TestModules for Kubernetes.
func TestKubernetes(t *testing.T) {
	c := kubernetes.Config{Kubeconfig: serve.Start(t, "kubernetes", 1, servers.Options{}).Members[0].Kubeconfig()}
	for i, option := range []fx.Option{
		fx.Options(backendsfx.Kubernetes, fx.Supply(c)),
		fx.Options(backendsfx.Module, fx.Supply(backends.Config{Backend: "kubernetes", Kubernetes: c})),
	} {
		keepsAllButValues(t, rune('r'+i), option)
	}
}
