package servers

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

var must = lab.Must

// timeout returns a context that ends with the test, or when servers should long
// have answered.
func timeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var kinds = map[string]func(context.Context, string, int, Options) (*Cluster, error){
	"etcd":   StartEtcd,
	"consul": StartConsul,
}

func TestOneServer(t *testing.T) {
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			ctx := timeout(t)
			c, err := start(ctx, t.TempDir(), 1, Options{})
			must(t, err)
			t.Cleanup(c.Stop)
			m := c.Members[0]
			leader, err := c.Leader(ctx)
			must(t, err)
			if leader != 0 {
				t.Errorf("leader %d, want 0", leader)
			}

			must(t, m.Pause())
			short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			if m.up(short, m) == nil {
				t.Error("a paused server answers")
			}
			must(t, m.Resume())
			must(t, m.ready(ctx))

			if m.Restart(ctx) == nil {
				t.Error("a running server was started again")
			}
			addr := m.Addr()
			for _, end := range []func(){m.Kill, m.Kill, m.Stop} {
				end()
				if err := m.Pause(); err == nil {
					t.Error("a server that ended was paused")
				}
				if c, err := net.Dial("tcp", addr); err == nil {
					_ = c.Close()
					t.Error("a server that ended accepts")
				}
				if m.running() == nil {
					must(t, m.Restart(ctx))
				}
			}
			if m.Addr() != addr {
				t.Errorf("the address became %s, was %s", m.Addr(), addr)
			}
		})
	}
}

func TestThreeServersElectAnother(t *testing.T) {
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			ctx := timeout(t)
			c, err := start(ctx, t.TempDir(), 3, Options{})
			must(t, err)
			t.Cleanup(c.Stop)
			first, err := c.Leader(ctx)
			must(t, err)
			c.Members[first].Kill()
			tick := time.NewTicker(poll)
			defer tick.Stop()
			for {
				next, err := c.Leader(ctx)
				if err == nil && next != first {
					break
				}
				select {
				case <-ctx.Done():
					t.Fatal(err)
				case <-tick.C:
				}
			}
			must(t, c.Members[first].Restart(ctx))
		})
	}
}

func TestTLS(t *testing.T) {
	ca, err := NewCA(t.TempDir())
	must(t, err)
	files, err := ca.Issue("server", time.Now().Add(time.Hour))
	must(t, err)
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			c, err := start(timeout(t), t.TempDir(), 1, Options{TLS: &files})
			must(t, err)
			t.Cleanup(c.Stop)
			conn, err := net.Dial("tcp", c.Members[0].Addr())
			must(t, err)
			must(t, conn.Close())
		})
	}
}

func TestAFailedStartShowsTheLog(t *testing.T) {
	_, err := StartEtcd(timeout(t), t.TempDir(), 1, Options{Args: []string{"--initial-cluster", "nobody=http://127.0.0.1:1"}})
	if err == nil || !strings.Contains(err.Error(), "local name") {
		t.Errorf("etcd: %v", err)
	}
	_, err = StartConsul(timeout(t), t.TempDir(), 1, Options{Config: "no_such_field = 1"})
	if err == nil || !strings.Contains(err.Error(), "no_such_field") {
		t.Errorf("consul: %v", err)
	}
}

func TestAStartThatHasNoTimeLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := StartEtcd(ctx, t.TempDir(), 1, Options{})
	if c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", c, err)
	}
}

func TestAMissingServerIsTold(t *testing.T) {
	t.Setenv("UNDERSTUDY_ETCD", filepath.Join(t.TempDir(), "none"))
	_, err := StartEtcd(timeout(t), t.TempDir(), 1, Options{})
	if err == nil || !strings.Contains(err.Error(), "make bin/etcd") {
		t.Errorf("%v", err)
	}
}

// TestServersDieWithTheirParent kills a process that runs a server, and waits for
// the end of the server.
func TestServersDieWithTheirParent(t *testing.T) {
	if dir := os.Getenv("SERVERS_TEST_DIR"); dir != "" {
		c, err := StartEtcd(t.Context(), dir, 1, Options{})
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(c.Members[0].PID())), 0o600))
		must(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "SERVERS_TEST_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	must(t, err)
	pid, err := strconv.Atoi(string(text))
	must(t, err)
	awaitDeath(timeout(t), t, pid)
}
