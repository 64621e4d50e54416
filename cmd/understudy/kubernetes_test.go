//go:build kubernetes

package main

import (
	"testing"

	"github.com/understudy-ha/understudy/backends"
)

// TestKubernetes runs what every store is tested with on one API server, each on a Lease of its own.
func TestKubernetes(t *testing.T) {
	eachOnItsOwn(t, "kubernetes", "--kubernetes-lease", func(c *backends.Config) *string { return &c.Kubernetes.Lease })
}
