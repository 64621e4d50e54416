package coordinatorotel

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/understudy-ha/understudy/coordinator"
)

// TestWithoutSDK: a program that has no SDK records nothing and loses nothing. That the right things
// are recorded is tested in sdktest, which is a module of its own: nobody gets an SDK with this one.
func TestWithoutSDK(t *testing.T) {
	r, err := Metrics(noop.Meter{}, new(coordinator.Monitor))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Unregister(); err != nil {
		t.Error(err)
	}
	Spans(nooptrace.Tracer{})(coordinator.Transition{From: coordinator.Draining, To: coordinator.Standby, At: time.Now()})
	text, err := os.ReadFile("../../go.mod")
	if err != nil || strings.Contains(string(text), "go.opentelemetry.io/otel/sdk") {
		t.Errorf("the module names an SDK: %v", err)
	}
}
