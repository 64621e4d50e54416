package admin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestBounds: what is too large, too slow or too much is ended, and the next is served.
func TestBounds(t *testing.T) {
	s := listen(t, Config{Listen: "127.0.0.1:0", AgentListen: "127.0.0.1:0"}, new(coordinator.Monitor))
	dial := func(a net.Addr) net.Conn {
		conn, err := net.Dial("tcp", a.String())
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		return conn
	}
	ended := func(conn net.Conn, what string) {
		t.Helper()
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", what, err)
		}
		_ = conn.Close()
	}
	large := dial(s.Addr())
	fmt.Fprintf(large, "GET /livez HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", strings.Repeat("x", 4*maxHeader))
	line, _ := bufio.NewReader(large).ReadString('\n')
	if !strings.Contains(line, "431") {
		t.Errorf("large headers are answered with %q", line)
	}
	_ = large.Close()
	ended(dial(s.Addr()), "a client that says nothing")
	var open []net.Conn
	for range maxConns {
		open = append(open, dial(s.Addr()))
	}
	ended(dial(s.Addr()), "one connection more")
	for _, conn := range open {
		_ = conn.Close()
	}
	lab.Eventually(t, "there is room again", func() bool {
		w, err := http.Get("http://" + s.Addr().String() + "/livez")
		if err == nil {
			_ = w.Body.Close()
		}
		return err == nil && w.StatusCode == 200
	})
	http.DefaultClient.CloseIdleConnections()
}

// TestPace: many who ask without a pause are answered at a pace that leaves the process to its
// work, and none but so many may watch.
func TestPace(t *testing.T) {
	s := listen(t, Config{Listen: "127.0.0.1:0"}, new(coordinator.Monitor))
	began := time.Now()
	var answered atomic.Int64
	var asking sync.WaitGroup
	for range 32 {
		conn, err := net.Dial("tcp", s.Addr().String())
		must(t, err)
		must(t, conn.SetDeadline(began.Add(2*time.Second)))
		asking.Go(func() { _, _ = io.WriteString(conn, strings.Repeat("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", 500)) })
		asking.Go(func() {
			defer conn.Close()
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "HTTP/1.1 ") {
					answered.Add(1)
				}
			}
		})
	}
	asking.Wait()
	if most := burst + pace*time.Since(began).Seconds(); float64(answered.Load()) > most {
		t.Errorf("%d requests were answered, of %.0f at most", answered.Load(), most)
	}
	watched := 0
	for range maxWatches/16 + 1 { // a connection has 16
		conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		must(t, err)
		defer conn.Close()
		for range 16 {
			w, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
			must(t, err)
			switch _, err = w.Recv(); {
			case err == nil:
				watched++
			case status.Code(err) != codes.ResourceExhausted:
				t.Fatalf("watch %d: %v", watched, err)
			}
		}
	}
	if watched != maxWatches {
		t.Errorf("%d may watch, want %d", watched, maxWatches)
	}
}
