package consul

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestTooManyConnections: an agent that allows no more connections is an agent, and its limit is named.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	c := start(t, 1, servers.Options{Config: `limits { http_max_conns_per_client = 2 }`})
	for range 2 {
		conn, err := net.Dial("tcp", c.Members[0].Addr())
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
	}
	s := open(t, Config{Address: c.Members[0].Addr()})
	var err error
	for ctx := timeout(t, 5*time.Second); ctx.Err() == nil; { // until the agent has counted those
		if _, err = s.Read(ctx, "a"); err != nil {
			break
		}
		s.idle()
	}
	if err == nil || !errors.Is(err, lock.ErrRefused) || errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "limits.http_max_conns_per_client") {
		t.Errorf("got %v, want a refusal for now that names the limit", err)
	}
}

// A hung server takes connections, as a kernel does for a process that is stopped, and says nothing until it wakes.
type hung struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	awake bool
}

func (h *hung) serve() {
	for {
		conn, err := h.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.conns = append(h.conns, conn)
		if h.awake {
			go answerAll(conn)
		}
		h.mu.Unlock()
	}
}

// wake has it answer on every connection, and returns how many there were.
func (h *hung) wake() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.awake = true
	for _, conn := range h.conns {
		go answerAll(conn)
	}
	return len(h.conns)
}

func answerAll(conn net.Conn) {
	for b := make([]byte, 4096); ; {
		if _, err := conn.Read(b); err != nil {
			_ = conn.Close()
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 48\r\n\r\n" +
			`{"Errors":[{"OpIndex":0,"What":"key is locked"}]}`[:48]))
	}
}

// TestHungAgentGetsFewConnections: attempts at an agent that takes connections and says nothing do not pile up there,
// and the first word frees the next ones.
func TestHungAgentGetsFewConnections(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h := &hung{Listener: listener}
	go h.serve()
	t.Cleanup(func() { _ = h.Close() })
	s := open(t, Config{Address: h.Addr().String()})
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := s.Read(ctx, "a")
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the agent at http://"+h.Addr().String()+" did not answer within ") {
			t.Fatalf("a hung agent: %v", err)
		}
	}
	if n := h.wake(); n > mostSilent {
		t.Errorf("100 attempts at a hung agent made %d connections, want at most %d", n, mostSilent)
	}
	began := time.Now()
	if _, err := s.Read(timeout(t, 10*time.Second), "a"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an agent that goes on: %v", err)
	}
	if took := time.Since(began); took > pause/2 {
		t.Errorf("an agent that goes on is asked only after %s", took)
	}
}
