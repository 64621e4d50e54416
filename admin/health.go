package admin

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/understudy-ha/understudy/coordinator"
)

// ActiveService is the service of gRPC's health protocol that serves while the role is active
// here. With several roles there is one for each: ActiveService, a slash and the role. The
// service without a name serves while the process is ready.
const ActiveService = "understudy.Active"

// look is how often a Watch looks for a change: nothing announces that a deadline has passed.
const look = 50 * time.Millisecond

// maxWatches is small because each of them looks by itself.
const maxWatches = 128

// A healthServer speaks gRPC's health protocol.
type healthServer struct {
	grpc_health_v1.UnimplementedHealthServer
	monitor *coordinator.Monitor
	watches atomic.Int64 // running now
}

// newHealth returns the handler of gRPC's requests.
func newHealth(m *coordinator.Monitor) http.Handler {
	server := grpc.NewServer(grpc.MaxRecvMsgSize(4 << 10))
	grpc_health_v1.RegisterHealthServer(server, &healthServer{monitor: m})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w) // a watch lasts; its connection is one of few
		_, _ = c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})
		server.ServeHTTP(w, r)
	})
}

// serving is the current state of a service.
func (h *healthServer) serving(service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
	against := errNotBegun
	if name, of := strings.CutPrefix(service, ActiveService); service != "" {
		if names := h.monitor.Names(); of && name == "" && len(names) == 1 {
			name = "/" + names[0]
		}
		name, named := strings.CutPrefix(name, "/")
		r, ok := h.monitor.Role(name)
		if !of || !named || !ok {
			return grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
		}
		against = idler(r)
	} else if p := h.monitor.Process(); p.Began {
		against = unready(p, h.monitor.Roles())
	}
	if against != nil {
		return grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return grpc_health_v1.HealthCheckResponse_SERVING
}

// Check is gRPC's.
func (h *healthServer) Check(_ context.Context, q *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	s := h.serving(q.GetService())
	if s == grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Errorf(codes.NotFound, "there are %q", h.services())
	}
	return &grpc_health_v1.HealthCheckResponse{Status: s}, nil
}

// List is gRPC's.
func (h *healthServer) List(context.Context, *grpc_health_v1.HealthListRequest) (*grpc_health_v1.HealthListResponse, error) {
	all := map[string]*grpc_health_v1.HealthCheckResponse{}
	for _, s := range h.services() {
		all[s] = &grpc_health_v1.HealthCheckResponse{Status: h.serving(s)}
	}
	return &grpc_health_v1.HealthListResponse{Statuses: all}, nil
}

// services are the names of the services.
func (h *healthServer) services() []string {
	all := []string{""}
	for _, name := range h.monitor.Names() {
		all = append(all, ActiveService+"/"+name)
	}
	return all
}

// Watch is gRPC's: it sends the state of the service, now and after every change.
func (h *healthServer) Watch(q *grpc_health_v1.HealthCheckRequest, to grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	defer h.watches.Add(-1)
	if h.watches.Add(1) > maxWatches {
		return status.Errorf(codes.ResourceExhausted, "there are %d watches already", maxWatches)
	}
	told := grpc_health_v1.HealthCheckResponse_ServingStatus(-1)
	every := time.NewTicker(look)
	defer every.Stop()
	for {
		if s := h.serving(q.GetService()); s != told {
			told = s
			if err := to.Send(&grpc_health_v1.HealthCheckResponse{Status: s}); err != nil {
				return err
			}
		}
		select {
		case <-every.C:
		case <-to.Context().Done():
			return status.FromContextError(to.Context().Err()).Err()
		}
	}
}
