// Package coordinatorotel gives OpenTelemetry what a process of package coordinator does. It uses
// OpenTelemetry's API alone: the program chooses the SDK, and where it has none nothing is recorded.
//
//	m := new(coordinator.Monitor)
//	observed, err := coordinatorotel.Metrics(otel.Meter("billing"), m)
//	...
//	defer observed.Unregister()
//	config.Monitor = m
//	config.OnTransition = coordinatorotel.Spans(otel.Tracer("billing"))
//	err = coordinator.Run(ctx, locker, config, work)
//
// docs/monitoring.md lists the metrics and the spans.
package coordinatorotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/understudy-ha/understudy/coordinator"
)

// Metrics has a meter observe what m shows, whenever the SDK collects, until the registration is
// ended. Nothing is kept meanwhile. There are no histograms: OpenTelemetry has none that are
// observed. [Spans] tells how long things took.
func Metrics(meter metric.Meter, m *coordinator.Monitor) (metric.Registration, error) {
	o := &observed{monitor: m}
	var all []metric.Observable
	for _, d := range declared {
		i, err := d.declare(meter)
		if err != nil {
			return nil, err
		}
		o.instruments = append(o.instruments, i)
		all = append(all, i)
	}
	return meter.RegisterCallback(o.observe, all...)
}

// A description is of one metric: of the process, or of each role.
type description struct {
	name, unit, help string
	counts           bool // it only grows
	process          func(coordinator.ProcessStatus, tell)
	role             func(coordinator.RoleStatus, tell)
}

// tell takes one value.
type tell func(value float64, more ...attribute.KeyValue)

var declared = []description{
	{name: "understudy.role.active", unit: "1", help: "Whether the role's work runs here and may act.", role: func(r coordinator.RoleStatus, t tell) { t(truth[r.Works()]) }},
	{name: "understudy.role.token", unit: "1", help: "The fencing token of this process's latest term.", role: func(r coordinator.RoleStatus, t tell) { t(float64(r.Token)) }},
	{name: "understudy.role.promise_left", unit: "s", help: "How long the role's work may still act.", role: func(r coordinator.RoleStatus, t tell) { t(r.Left.Seconds()) }},
	{name: "understudy.role.ready", unit: "1", help: "Whether this process is ready to take over the role.", role: func(r coordinator.RoleStatus, t tell) { t(truth[r.Ready]) }},
	{name: "understudy.role.lag", unit: "s", help: "How old this process's copy of the role's replicated state may be.", role: func(r coordinator.RoleStatus, t tell) {
		if r.Lag >= 0 {
			t(r.LagSeconds())
		}
	}},
	{name: "understudy.transitions", unit: "{transition}", help: "Changes of the role's state, by cause.", counts: true, role: func(r coordinator.RoleStatus, t tell) {
		for cause, n := range r.Moves {
			t(float64(n), attribute.String("cause", string(cause)))
		}
	}},
	{name: "understudy.beats", unit: "{beat}", help: "Attempts at a beat, by outcome.", counts: true, process: func(p coordinator.ProcessStatus, t tell) {
		t(float64(p.Beats), attribute.String("outcome", "acknowledged"))
		t(float64(p.BeatsFailed), attribute.String("outcome", "failed"))
	}},
	{name: "understudy.store.errors", unit: "{error}", help: "Calls to the store that failed, by kind.", counts: true, process: func(p coordinator.ProcessStatus, t tell) {
		for kind, n := range p.Errors {
			t(float64(n), attribute.String("kind", kind))
		}
	}},
	{name: "understudy.store.silent", unit: "s", help: "How long ago the store last answered.", process: func(p coordinator.ProcessStatus, t tell) {
		if !p.Heard.IsZero() {
			t(p.Silent.Seconds())
		}
	}},
	{name: "understudy.registered", unit: "1", help: "Whether this process has a session in the store.", process: func(p coordinator.ProcessStatus, t tell) { t(truth[p.Session != ""]) }},
	{name: "understudy.healthy", unit: "1", help: "Whether this process is known to be healthy.", process: func(p coordinator.ProcessStatus, t tell) { t(truth[p.Unhealthy == nil]) }},
	{name: "understudy.witness", unit: "1", help: "Whether a witness stands by.", process: func(p coordinator.ProcessStatus, t tell) { t(truth[p.Witness]) }},
	{name: "understudy.loop.late", unit: "s", help: "For how long the coordinator has been due to turn, and has not.", process: func(p coordinator.ProcessStatus, t tell) { t(p.Late.Seconds()) }},
}

func (d description) declare(meter metric.Meter) (metric.Float64Observable, error) {
	if d.counts {
		return meter.Float64ObservableCounter(d.name, metric.WithUnit(d.unit), metric.WithDescription(d.help))
	}
	return meter.Float64ObservableGauge(d.name, metric.WithUnit(d.unit), metric.WithDescription(d.help))
}

// An observed monitor has an instrument for each of declared.
type observed struct {
	monitor     *coordinator.Monitor
	instruments []metric.Float64Observable
}

func (o *observed) observe(_ context.Context, to metric.Observer) error {
	p := o.monitor.Process()
	if !p.Began {
		return nil
	}
	roles := o.monitor.Roles()
	for i, d := range declared {
		if d.process != nil {
			d.process(p, func(value float64, more ...attribute.KeyValue) {
				to.ObserveFloat64(o.instruments[i], value, metric.WithAttributes(more...))
			})
			continue
		}
		for _, r := range roles {
			role := attribute.String("role", r.Role)
			d.role(r, func(value float64, more ...attribute.KeyValue) {
				to.ObserveFloat64(o.instruments[i], value, metric.WithAttributes(append(more, role)...))
			})
		}
	}
	return nil
}

var truth = map[bool]float64{true: 1}

// Spans returns what to set as coordinator.Config.OnTransition: a span for each time that a role is
// taken here, "understudy.activate", and for each time that it is given up, "understudy.drain". A span
// is made when it is over, so nothing is lost that an SDK would hold for a term of weeks. It says role,
// token, why it began and what it led to; a drain that nobody asked for is an error.
func Spans(tracer trace.Tracer) func(coordinator.Transition) {
	began := map[string]coordinator.Transition{} // by role: how it came into the state that it is in
	return func(t coordinator.Transition) {
		last := began[t.Role]
		began[t.Role] = t
		name := map[coordinator.State]string{coordinator.Activating: "understudy.activate", coordinator.Draining: "understudy.drain"}[t.From]
		switch {
		case name == "":
			return
		case last.To != t.From: // some were dropped
			last = coordinator.Transition{}
		}
		_, span := tracer.Start(context.Background(), name, trace.WithNewRoot(), trace.WithTimestamp(t.At.Add(-t.After)), trace.WithAttributes(
			attribute.String("role", t.Role), attribute.Int64("token", int64(t.Token)),
			attribute.String("cause", string(last.Cause)), attribute.String("to", string(t.To)),
		))
		if t.From == coordinator.Draining && unasked(last) {
			span.SetStatus(codes.Error, last.Reason.Error())
		}
		span.End(trace.WithTimestamp(t.At))
	}
}

// unasked reports whether a term ended because something went wrong.
func unasked(t coordinator.Transition) bool {
	switch t.Cause {
	case coordinator.CauseDeadline, coordinator.CauseSessionLost, coordinator.CauseSuperseded, coordinator.CauseStalled, coordinator.CauseFailed:
		return t.Reason != nil
	}
	return false
}
