//go:build linux

package main

import (
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab"
)

// managed runs a wrapper under a service manager's socket, and returns what was sent there.
func managed(t *testing.T, watchdog string, heard func(*net.UnixConn)) (w *wrapped, log *lab.Said) {
	t.Helper()
	address := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	log = &lab.Said{}
	w = wrap(t, `echo socket $NOTIFY_SOCKET$WATCHDOG_USEC; exec sleep 1000`, "--health", "test -z \"$NOTIFY_SOCKET\"")
	w.cmd.Stderr = log
	w.cmd.Env = append(w.cmd.Env, "NOTIFY_SOCKET="+address, "WATCHDOG_USEC="+watchdog)
	go heard(conn)
	w.start()
	w.expect("socket")
	return w, log
}

// TestServiceManager tells systemd all that it wants to know, and the command nothing of it.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	said := &lab.Said{}
	w, log := managed(t, "200000", func(conn *net.UnixConn) { copyMessages(said, conn) })
	awaitSaid(t, said, "STATUS=active in r, token ")
	awaitSaid(t, said, "WATCHDOG=1\n")
	w.signal(syscall.SIGTERM)
	if code := w.code(); code != 0 {
		t.Errorf("exit code %d\n%s", code, log)
	}
	awaitSaid(t, said, "STOPPING=1\n")
	lines := strings.Split(said.String(), "\n")
	ready := slices.Index(lines, "READY=1")
	if ready < 0 || strings.Count(said.String(), "READY=1") != 1 || ready > slices.Index(lines, "STOPPING=1") {
		t.Errorf("told:\n%s", said)
	}
}

// TestServiceManagerOfAStandby: a standby in line is ready, too, or units that wait for it would wait for ever.
func TestServiceManagerOfAStandby(t *testing.T) {
	t.Parallel()
	address := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	said := &lab.Said{}
	go copyMessages(said, conn)
	r := newTrio(t, onEtcd)
	r.through = map[string][]string{"b": {"env", "NOTIFY_SOCKET=" + address}}
	r.start("a")
	r.active(0)
	r.start("b")
	awaitSaid(t, said, "READY=1")
	awaitSaid(t, said, "STATUS=standby in r")
	if text := said.String(); strings.Contains(text, "STATUS=active") {
		t.Errorf("it was active:\n%s", text)
	}
}

// copyMessages writes one line for every line that a service manager is told.
func copyMessages(to io.Writer, conn *net.UnixConn) {
	for text := make([]byte, 4096); ; {
		n, err := conn.Read(text)
		if err != nil {
			return
		}
		_, _ = to.Write(append(text[:n], '\n'))
	}
}

// TestServiceManagerThatStalls: one that reads nothing, and whose socket is full, costs nothing.
func TestServiceManagerThatStalls(t *testing.T) {
	t.Parallel()
	w, log := managed(t, "4000", func(*net.UnixConn) {}) // a message every 2ms, and room for some ten
	time.Sleep(300 * time.Millisecond)                   // the socket is full by then; nobody tells
	w.signal(syscall.SIGTERM)
	if code := w.code(); code != 0 {
		t.Errorf("exit code %d\n%s", code, log)
	}
	if log.Has("work is late") {
		t.Errorf("it was late:\n%s", log)
	}
}

// TestServiceManagerThatIsGone: that is told once, and no reason to end.
func TestServiceManagerThatIsGone(t *testing.T) {
	t.Parallel()
	log := &lab.Said{}
	w := wrap(t, `echo works; exec sleep 1000`)
	w.cmd.Stderr = log
	w.cmd.Env = append(w.cmd.Env, "NOTIFY_SOCKET=/nowhere", "WATCHDOG_USEC=nonsense")
	w.start()
	w.expect("works")
	awaitSaid(t, log, "cannot tell the service manager")
	w.signal(syscall.SIGTERM)
	if code := w.code(); code != 0 || strings.Count(log.String(), "cannot tell the service manager") != 1 {
		t.Errorf("exit code %d\n%s", code, log)
	}
}

// TestDescribe says how many roles stand where they are many.
func TestDescribe(t *testing.T) {
	var few, many []coordinator.RoleStatus
	for range 9 {
		many = append(many, coordinator.RoleStatus{Role: "r", State: coordinator.Standby})
	}
	many[3].State = coordinator.Active
	few = append(few, coordinator.RoleStatus{Role: "a", State: coordinator.Active, Token: 7}, coordinator.RoleStatus{Role: "b", State: coordinator.Paused, Cause: coordinator.CauseUnhealthy})
	for want, roles := range map[string][]coordinator.RoleStatus{
		"": nil, "active in a, token 7; paused in b: unhealthy": few, "standby in 8 of 9 roles; active in 1 of 9 roles": many,
	} {
		if got := describe(roles); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
