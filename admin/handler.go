package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/understudy-ha/understudy/coordinator"
)

// Options are the options of a Handler.
type Options struct {
	// Allow reports whether a request may be answered: either one of a probe, or one for metrics,
	// status and history. nil: everybody may ask everything.
	Allow func(r *http.Request, probe bool) bool

	// Certificates are those whose expiry the metrics show, by file. nil: there are none.
	Certificates func() map[string]time.Time
}

// Handler serves what m shows: probes, status, history, metrics and gRPC's health protocol. It reads no
// body, and needs HTTP/2 for gRPC.
func Handler(m *coordinator.Monitor, o Options) http.Handler {
	if o.Allow == nil {
		o.Allow = func(*http.Request, bool) bool { return true }
	}
	h := &handler{Options: o, routes: map[string]route{}, grpc: newHealth(m)}
	probe := func(judge func(question) answer, paths ...string) {
		for _, path := range paths {
			h.routes[path] = route{true, func(r *http.Request) answer { return judge(question{m, m.Process(), r}) }}
		}
	}
	probe(livez, "/livez")
	probe(readyz, "/readyz")
	probe(active, "/active", "/primary", "/leader")
	probe(standby, "/standby", "/replica")
	probe(health, "/v1/health")
	h.routes["/v1/status"] = route{false, func(r *http.Request) answer { return statusOf(question{m, m.Process(), r}) }}
	past := newHistories(m)
	h.routes["/v1/history"] = route{false, func(r *http.Request) answer { return past.answer(question{m, m.Process(), r}) }}
	registry := prometheus.NewRegistry()
	registry.MustRegister(Collector(m), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), certificates(o.Certificates))
	h.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: writing / 2})
	return h
}

// A handler is what Handler returns.
type handler struct {
	Options
	routes  map[string]route
	metrics http.Handler
	grpc    http.Handler
}

// A route is a path that is answered in JSON.
type route struct {
	probe bool
	do    func(*http.Request) answer
}

// An answer is a status code and a body.
type answer struct {
	code int
	body any
}

// methods are the allowed ones. OPTIONS has the same code as GET, because HAProxy checks with it.
const methods = "GET, HEAD, OPTIONS"

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	route, known := h.routes[path]
	grpc := r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case !h.Allow(r, route.probe || grpc):
		w.Header().Set("WWW-Authenticate", "Bearer")
		write(w, r, refuse(http.StatusUnauthorized, "a bearer token, or a client's certificate, is needed"))
	case grpc:
		h.grpc.ServeHTTP(w, r)
	case !known && path != "/metrics":
		paths := slices.Sorted(maps.Keys(h.routes))
		write(w, r, refuse(http.StatusNotFound, "there are "+strings.Join(append(paths, "/metrics"), ", ")))
	case !slices.Contains(strings.Split(methods, ", "), r.Method):
		w.Header().Set("Allow", methods)
		write(w, r, refuse(http.StatusMethodNotAllowed, "use one of "+methods))
	case r.ContentLength != 0:
		w.Header().Set("Connection", "close") // do not even read it to discard it
		write(w, r, refuse(http.StatusRequestEntityTooLarge, "send no body"))
	case path == "/metrics":
		h.metrics.ServeHTTP(w, r)
	default:
		write(w, r, route.do(r))
	}
}

// write sends an answer.
func write(w http.ResponseWriter, r *http.Request, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.code)
	if r.Method != http.MethodHead && r.Method != http.MethodOptions {
		_ = json.NewEncoder(w).Encode(a.body) // a client that does not read it does not want it
	}
}

// A refusal is the body of an answer that is not a verdict.
type refusal struct {
	Error string   `json:"error"`
	Roles []string `json:"roles,omitempty"` // name one of them
}

func refuse(code int, why string) answer { return answer{code, refusal{Error: why}} }

// A question is one request, and the process's state when it came.
type question struct {
	monitor *coordinator.Monitor
	process coordinator.ProcessStatus
	*http.Request
}

// one asks about the role that the request names, or the only one.
func (q question) one(judge func(coordinator.RoleStatus) answer) answer {
	name, names := q.URL.Query().Get("role"), q.monitor.Names()
	switch {
	case !q.process.Began:
		return verdict(q.process, nil, errNotBegun)
	case name == "" && len(names) > 1:
		return answer{http.StatusBadRequest, refusal{"this process has several roles; ask for one: " + q.URL.Path + "?role=" + names[0], names}}
	case name == "":
		name = names[0]
	}
	r, ok := q.monitor.Role(name)
	if !ok {
		return answer{http.StatusNotFound, refusal{fmt.Sprintf("role %q: this process does not take part in it", name), names}}
	}
	return judge(r)
}

// A probed is the body of a verdict.
type probed struct {
	OK    bool   `json:"ok"`
	Why   string `json:"why,omitempty"` // not
	ID    string `json:"id,omitempty"`
	Role  string `json:"role,omitempty"`
	State string `json:"state,omitempty"`
	Token uint64 `json:"token,omitempty"`
}

// verdict is 200 if nothing speaks against it, else 503.
func verdict(p coordinator.ProcessStatus, r *coordinator.RoleStatus, against error) answer {
	a := answer{http.StatusOK, nil}
	body := probed{OK: against == nil, ID: p.ID}
	if r != nil {
		body.Role, body.State, body.Token = r.Role, string(r.State), uint64(r.Token)
	}
	if against != nil {
		a.code, body.Why = http.StatusServiceUnavailable, against.Error()
	}
	a.body = body
	return a
}

func livez(q question) answer {
	return verdict(q.process, nil, dead(q.process, q.monitor.Roles()))
}

func readyz(q question) answer {
	if !q.URL.Query().Has("role") {
		return verdict(q.process, nil, unready(q.process, q.monitor.Roles()))
	}
	return q.one(func(r coordinator.RoleStatus) answer {
		return verdict(q.process, &r, unfit(q.process, r))
	})
}

func active(q question) answer {
	return q.one(func(r coordinator.RoleStatus) answer { return verdict(q.process, &r, idler(r)) })
}

func standby(q question) answer {
	return q.one(func(r coordinator.RoleStatus) answer {
		against := unfit(q.process, r)
		if r.State != coordinator.Standby {
			against = stateError(r)
		}
		return verdict(q.process, &r, against)
	})
}

// health answers as Vault does: 429 as a standby, which Consul takes for a warning.
func health(q question) answer {
	return q.one(func(r coordinator.RoleStatus) answer {
		a := verdict(q.process, &r, unfit(q.process, r))
		if a.code == http.StatusOK && !r.Works() && !q.URL.Query().Has("standbyok") {
			a.code = http.StatusTooManyRequests
		}
		return a
	})
}
