package main

import (
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestEndpointMistakes: what an EndpointSlice lacks is said before anything is written.
func TestEndpointMistakes(t *testing.T) {
	r := newTrio(t, onRaft)
	for _, want := range []string{
		`endpointSlice "billing": address must be this pod's IP address then, such as 10.0.0.7, and is "h1:80"`,
		`endpointSlice "billing": the API server cannot be reached: Kubeconfig: is empty, and this process is not in a pod with a service account`,
	} {
		r.expect(cli.Usage, want, "run", "--role", "r", "--endpoint-slice", "billing", "--address", "h1:80", "--", "true")
	}
	r.expect(cli.Usage, `from: "a\x01": has the unprintable character U+0001`, "handoff", "--role", "r", "--from", "a\x01")
}
