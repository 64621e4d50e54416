package admin

import (
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-ha/understudy/coordinator"
)

// Collector returns the metrics of what m shows, for a registry. They are read at each scrape;
// nothing is kept in between.
func Collector(m *coordinator.Monitor) prometheus.Collector { return &collector{m} }

type collector struct{ monitor *coordinator.Monitor }

// named are the metrics' descriptions, in the order in which they are declared.
var named []*prometheus.Desc

// describe declares a metric.
func describe(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("understudy_"+name, help, labels, nil)
	named = append(named, d)
	return d
}

// The metrics.
var (
	roleActive = describe("role_active", "Whether the role's work runs here and may act at the moment of the scrape.", "role")
	roleState  = describe("role_state", "1 for the state that the role is in, 0 for all others.", "role", "state")
	roleToken  = describe("role_token", "The fencing token of this process's latest term; 0 before the first one.", "role")
	roleLeft   = describe("role_promise_left_seconds", "How long the role's work may still act; 0 where none runs.", "role")
	roleReady  = describe("role_ready", "Whether this process is active in the role, or ready to take it over and able to.", "role")
	roleLag    = describe("role_lag_seconds", "How old this process's copy of the role's replicated state may be; 0 where it is active, infinite where it has none yet.", "role")

	transitions        = describe("transitions_total", "Changes of the role's state, by cause.", "role", "cause")
	transitionsDropped = describe("transitions_dropped_total", "Transitions that the OnTransition of an embedder was not told.")

	fences        = describe("fences_total", "Fence commands that ended, by outcome.", "outcome")
	eventsDropped = describe("history_events_dropped_total", "Events that could not be written into the history of a role.")

	beats        = describe("beats_total", "Attempts at a beat, by outcome.", "outcome")
	beatDuration = describe("beat_duration_seconds", "How long the beats took that were acknowledged.")

	storeHeard  = describe("store_last_success_timestamp_seconds", "When the store last answered a call; 0: it has not.")
	storeErrors = describe("store_errors_total", "Calls to the store that failed, by kind.", "kind")

	failovers   = describe("failover_duration_seconds", "From a former active's end, or its last sign of life where it fell silent, until the work of its successor began here.")
	activations = describe("activation_duration_seconds", "From asking for a role until its work began.")
	drains      = describe("drain_duration_seconds", "From telling work to stop, or its return, until the role was given back.")

	registered   = describe("registered", "Whether this process has a session in the store.")
	healthy      = describe("healthy", "Whether this process is known to be healthy.")
	witness      = describe("witness", "Whether a witness stands by that ends this process's session when it crashes.")
	loopLate     = describe("loop_late_seconds", "For how long the coordinator has been due to turn, and has not.")
	linesDropped = describe("log_lines_dropped_total", "Lines that the log had no room for.")
	buildInfo    = describe("build_info", "1, with what this program was built from.", "version", "go_version")
)

// certificateEnd is told beside what a Collector tells: see Options.Certificates.
var certificateEnd = describe("certificate_not_after_timestamp_seconds", "When a certificate ends; of authorities the last one's.", "file")

func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range named {
		if d != certificateEnd {
			to <- d
		}
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	version, goVersion := build()
	gauge(to, buildInfo, 1, version, goVersion)
	p := c.monitor.Process()
	if !p.Began {
		return
	}
	for _, r := range c.monitor.Roles() {
		collectRole(to, p, r)
	}
	count(to, transitionsDropped, p.MovesDropped)
	count(to, eventsDropped, p.EventsDropped)
	count(to, beats, p.Beats, "acknowledged")
	count(to, beats, p.BeatsFailed, "failed")
	histogram(to, beatDuration, p.BeatTimes)
	gauge(to, storeHeard, seconds(p.Heard))
	for kind, n := range p.Errors {
		count(to, storeErrors, n, kind)
	}
	for outcome, n := range p.Fences {
		count(to, fences, n, outcome)
	}
	histogram(to, failovers, p.Failovers)
	histogram(to, activations, p.Activations)
	histogram(to, drains, p.Drains)
	gauge(to, registered, truth(p.Session != ""))
	gauge(to, healthy, truth(p.Unhealthy == nil))
	gauge(to, witness, truth(p.Witness))
	gauge(to, loopLate, p.Late.Seconds())
	count(to, linesDropped, p.LinesDropped)
}

func collectRole(to chan<- prometheus.Metric, p coordinator.ProcessStatus, r coordinator.RoleStatus) {
	gauge(to, roleActive, truth(r.Works()), r.Role)
	for _, s := range coordinator.States() {
		gauge(to, roleState, truth(s == r.State), r.Role, string(s))
	}
	gauge(to, roleToken, float64(r.Token), r.Role)
	gauge(to, roleLeft, r.Left.Seconds(), r.Role)
	gauge(to, roleReady, truth(r.Ready && unfit(p, r) == nil), r.Role)
	if r.Lag >= 0 {
		gauge(to, roleLag, r.LagSeconds(), r.Role)
	}
	for cause, n := range r.Moves {
		count(to, transitions, n, r.Role, string(cause))
	}
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func count(to chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func histogram(to chan<- prometheus.Metric, d *prometheus.Desc, h coordinator.Histogram) {
	buckets := map[float64]uint64{}
	for bound, n := range h.Within {
		buckets[bound.Seconds()] = n
	}
	to <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), buckets)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// seconds is a time in seconds since 1970; 0 for no time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}

// build is what this program was built from: the version of understudy in it, and of Go.
func build() (version, goVersion string) {
	const module = "github.com/understudy-ha/understudy"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", runtime.Version()
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version, runtime.Version()
		}
	}
	return info.Main.Version, runtime.Version()
}

// certificates are the ends of certificates, by file.
type certificates func() map[string]time.Time

func (certificates) Describe(to chan<- *prometheus.Desc) { to <- certificateEnd }

func (c certificates) Collect(to chan<- prometheus.Metric) {
	if c == nil {
		return
	}
	for file, end := range c() {
		gauge(to, certificateEnd, seconds(end), file)
	}
}
