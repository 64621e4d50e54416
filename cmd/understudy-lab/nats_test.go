//go:build nats

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestNATS runs some cases on a NATS server, and leaves nothing there.
func TestNATS(t *testing.T) {
	server, flags := serve(t, "nats")
	conformsInOneValue(t, flags)
	if text := ask(t, 0, flags...); !strings.Contains(text, "\nbut with --nats-may-forget it may forget in a crash") {
		t.Error(text)
	}
	c, err := nats.Connect("nats://" + server.Members[0].Addr())
	lab.Must(t, err)
	defer c.Close()
	js, err := jetstream.New(c)
	lab.Must(t, err)
	stream, err := js.Stream(t.Context(), "KV_understudy")
	lab.Must(t, err)
	if n := stream.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d keys are left", n)
	}
	_, _, samples := measures(t, "nats", "clean,crash-witness,store-leader")
	if len(samples) != 3 || !slices.ContainsFunc(samples, func(s failover.Sample) bool { return s.Fault == "store-leader" && s.Stall > 0 }) {
		t.Errorf("%+v", samples)
	}
}
