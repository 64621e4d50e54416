package sdktest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/coordinatorotel"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestSDK: a process whose work fails once, and is then stopped, as the SDK collects and exports it.
func TestSDK(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	m := new(coordinator.Monitor)
	observed, err := coordinatorotel.Metrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"), m)
	if err != nil {
		t.Fatal(err)
	}
	if got := collect(t, reader); len(got) > 0 {
		t.Errorf("before Run: %v", got)
	}
	c := coordinator.Config{
		ID: "a", Roles: []lock.Bid{{Role: "r"}, {Role: "s"}}, TTL: 2 * time.Second, Logger: slog.New(slog.DiscardHandler),
		Monitor: m, OnTransition: coordinatorotel.Spans(tracer), Lag: func(role string) time.Duration { return map[string]time.Duration{"r": time.Second, "s": -1}[role] },
	}
	ctx, stop := context.WithCancel(t.Context())
	ended, begun, first := make(chan error, 1), make(chan string, 10), true
	go func() {
		ended <- coordinator.Run(ctx, memory.New().Open(), c, func(ctx context.Context, term coordinator.Term) error {
			if term.Role == "r" && first {
				first = false
				return errors.New("a disk is missing")
			}
			begun <- term.Role
			<-ctx.Done()
			return nil
		})
	}()
	<-begun
	<-begun
	lab.Eventually(t, "the monitor to show it", func() bool { r, _ := m.Role("r"); s, _ := m.Role("s"); return r.Works() && s.Works() })
	got := collect(t, reader)
	for name, want := range map[string]float64{
		"understudy.role.active role=r": 1, "understudy.role.active role=s": 1, "understudy.role.ready role=r": 1, "understudy.role.lag role=r": 1,
		"understudy.transitions cause=granted role=r": 2, "understudy.transitions cause=granted role=s": 1, "understudy.transitions cause=failed role=r": 1,
		"understudy.registered": 1, "understudy.healthy": 1, "understudy.witness": 0, "understudy.beats outcome=failed": 0, "understudy.store.errors kind=refused": 0,
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %v (there: %v), want %v", name, value, there, want)
		}
	}
	for _, more := range []string{"understudy.role.token role=r", "understudy.role.promise_left role=s", "understudy.beats outcome=acknowledged"} {
		if got[more] <= 0 {
			t.Errorf("%s is %v, want more than 0", more, got[more])
		}
	}
	if _, there := got["understudy.role.lag role=s"]; there {
		t.Error("a role without a log has a lag")
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	checkSpans(t, spans.Ended())
	if err := observed.Unregister(); err != nil {
		t.Error(err)
	}
	if got := collect(t, reader); len(got) > 0 {
		t.Errorf("unregistered: %v", got)
	}
}

// checkSpans expects what came to pass, as spans of their own that lie in the past.
func checkSpans(t *testing.T, spans []sdktrace.ReadOnlySpan) {
	var told []string
	for _, s := range spans {
		if s.EndTime().Before(s.StartTime()) || s.StartTime().After(time.Now()) || s.Parent().IsValid() {
			t.Errorf("%s: from %v to %v, parent %v", s.Name(), s.StartTime(), s.EndTime(), s.Parent())
		}
		of := map[string]string{}
		for _, a := range s.Attributes() {
			of[string(a.Key)] = a.Value.String()
		}
		if of["token"] == "" || of["token"] == "0" {
			t.Errorf("%s has no token: %v", s.Name(), of)
		}
		line := fmt.Sprintf("%s %s %s->%s", of["role"], s.Name(), of["cause"], of["to"])
		if s.Status().Code == codes.Error {
			line += ": " + s.Status().Description
		}
		told = append(told, line)
	}
	slices.SortStableFunc(told, func(a, b string) int { return strings.Compare(a[:1], b[:1]) }) // each role's in their order
	want := []string{
		"r understudy.activate vacant->active", "r understudy.drain failed->paused: a disk is missing",
		"r understudy.activate vacant->active", "r understudy.drain stopping->stopped",
		"s understudy.activate vacant->active", "s understudy.drain stopping->stopped",
	}
	if !slices.Equal(told, want) {
		t.Errorf("spans:\n%s", strings.Join(told, "\n"))
	}
}

// collect is what the SDK reads, by name and attributes.
func collect(t *testing.T, reader *sdkmetric.ManualReader) map[string]float64 {
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			var points []metricdata.DataPoint[float64]
			switch d := m.Data.(type) {
			case metricdata.Gauge[float64]:
				points = d.DataPoints
			case metricdata.Sum[float64]:
				points = d.DataPoints
			}
			for _, p := range points {
				name := m.Name
				for _, a := range p.Attributes.ToSlice() {
					name += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
				}
				all[name] = p.Value
			}
		}
	}
	return all
}
