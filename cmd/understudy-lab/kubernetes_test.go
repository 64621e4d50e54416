//go:build kubernetes

package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestKubernetes runs some cases on an API server of Kubernetes, and leaves nothing there.
func TestKubernetes(t *testing.T) {
	server, flags := serve(t, "kubernetes")
	conformsInOneValue(t, flags)
	left, err := server.Members[0].AsManager(t.Context(), http.MethodGet, "/apis/coordination.k8s.io/v1/namespaces/default/leases", "")
	lab.Must(t, err)
	if strings.Contains(left, "understudy") {
		t.Errorf("Leases are left: %s", left)
	}
	measuresOne(t, "kubernetes")
}
