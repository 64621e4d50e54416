package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
)

// TestMain is also the command and the wrapper of the tests: this binary, run
// again.
func TestMain(m *testing.M) {
	switch os.Getenv("UNDERSTUDY_TEST") {
	case "stamp":
		stampForever()
	case "wrapper":
		os.Setenv("UNDERSTUDY_TEST", "stamp")
		os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// stampForever says every two milliseconds that this process works, until SIGTERM.
func stampForever() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	for {
		fmt.Printf("%s %d %s %d\n", os.Getenv("UNDERSTUDY_TOKEN"), os.Getpid(), os.Getenv("UNDERSTUDY_ID"), coordinator.Clocks().Mono)
		select {
		case <-stop:
			os.Exit(0)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// A span is what one command stamped.
type span struct {
	token       uint64
	pid         int
	id          string
	first, last time.Duration
}

// A trio is three wrappers of one role.
type trio struct {
	t     *testing.T
	dir   string
	peers []raft.Peer
	procs map[string]*exec.Cmd
	pipes sync.WaitGroup

	mu    sync.Mutex
	spans []*span
}

func newTrio(t *testing.T) *trio {
	r := &trio{t: t, dir: t.TempDir(), procs: map[string]*exec.Cmd{}}
	for _, id := range []string{"a", "b", "c"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		r.peers = append(r.peers, raft.Peer{ID: id, Address: l.Addr().String()})
	}
	t.Cleanup(func() {
		for id := range r.procs {
			r.kill(id, syscall.SIGKILL)
		}
		r.pipes.Wait()
	})
	return r
}

// args are those of a wrapper whose command stamps.
func (r *trio) args(id string, flags ...string) []string {
	var peers []string
	for _, p := range r.peers {
		peers = append(peers, p.String())
	}
	args := append([]string{
		"run", "--role", "r", "--id", id, "--ttl", "500ms", "--on-exit", "restart", "--log-level", "warn",
		"--raft-dir", filepath.Join(r.dir, id), "--raft-peers", strings.Join(peers, ","),
	}, flags...)
	return append(args, "--", os.Args[0])
}

func (r *trio) start(id string, flags ...string) {
	r.t.Helper()
	cmd := exec.Command(os.Args[0], r.args(id, flags...)...)
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper")
	out, in, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, io.Discard
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	in.Close()
	r.procs[id] = cmd
	r.pipes.Go(func() {
		defer out.Close()
		for lines := bufio.NewScanner(out); lines.Scan(); {
			r.take(lines.Text())
		}
	})
}

func (r *trio) take(line string) {
	var s span
	if _, err := fmt.Sscan(line, &s.token, &s.pid, &s.id, &s.first); err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, old := range r.spans {
		if old.pid == s.pid && old.token == s.token {
			old.last = s.first
			return
		}
	}
	s.last = s.first
	r.spans = append(r.spans, &s)
}

// active waits until somebody works who is not the one with the given token.
func (r *trio) active(not uint64) span {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		r.mu.Lock()
		if n := len(r.spans); n > 0 && r.spans[n-1].token > not {
			s := *r.spans[n-1]
			r.mu.Unlock()
			return s
		}
		r.mu.Unlock()
	}
	r.t.Fatal("nobody works")
	return span{}
}

func (r *trio) kill(id string, sig syscall.Signal) {
	cmd := r.procs[id]
	_ = cmd.Process.Signal(sig)
	_ = cmd.Wait()
	delete(r.procs, id)
}

// inLine waits until n stand by.
func (r *trio) inLine(n int) {
	r.t.Helper()
	l, err := raft.Dial(raft.Config{Peers: r.peers})
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	for st, err := range l.Watch(ctx, "r") {
		if err == nil && len(st.Line) == n && !st.Term.Vacant() {
			return
		}
	}
	r.t.Fatalf("%d did not stand by", n)
}

// judge expects no two commands to have worked at once, and tokens to rise.
func (r *trio) judge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.spans, func(a, b *span) int { return int(a.first - b.first) })
	for i := 1; i < len(r.spans); i++ {
		a, b := r.spans[i-1], r.spans[i]
		if b.first <= a.last {
			r.t.Errorf("%s (token %d) worked until %v, %s (token %d) from %v", a.id, a.token, a.last, b.id, b.token, b.first)
		}
		if b.token <= a.token {
			r.t.Errorf("token %d after %d", b.token, a.token)
		}
	}
	r.t.Logf("%d terms", len(r.spans))
}

// TestFaults kills wrappers and commands and stops and wakes standbys, in an order
// drawn by a seed, and judges the commands' own stamps.
func TestFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	r := newTrio(t)
	for _, p := range r.peers {
		r.start(p.ID)
	}
	now := r.active(0)
	for range 12 {
		r.inLine(2)
		var standby string
		for _, p := range r.peers {
			if p.ID != now.id && (standby == "" || draw.IntN(2) == 0) {
				standby = p.ID
			}
		}
		switch draw.IntN(5) {
		case 0: // the active's wrapper
			r.kill(now.id, syscall.SIGKILL)
			next := r.active(now.token)
			r.start(now.id)
			now = next
		case 1: // its command
			_ = syscall.Kill(now.pid, syscall.SIGKILL)
			now = r.active(now.token)
		case 2: // a standby's wrapper
			r.kill(standby, syscall.SIGKILL)
			r.start(standby)
		case 3: // a standby is stopped, and woken
			_ = r.procs[standby].Process.Signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(draw.IntN(1000)) * time.Millisecond)
			_ = r.procs[standby].Process.Signal(syscall.SIGCONT)
			now = r.active(now.token - 1)
		case 4: // a clean stop
			r.kill(now.id, syscall.SIGTERM)
			next := r.active(now.token)
			r.start(now.id)
			now = next
		}
	}
	for _, p := range r.peers {
		r.kill(p.ID, syscall.SIGTERM)
	}
	r.judge()
}

// TestCodes are the wrapper's exit codes.
func TestCodes(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 137} {
		var errs strings.Builder
		cmd := exec.Command(os.Args[0], "run", "--backend", "memory", "--role", "r", "--", "sh", "-c", script)
		cmd.Env, cmd.Stderr = append(os.Environ(), "UNDERSTUDY_TEST=wrapper"), &errs
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: exit code %d, want %d\n%s", script, got, want, errs.String())
		}
	}
}

// TestSignals passes SIGHUP on, and stops a command that ignores SIGTERM by force.
func TestSignals(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "run", "--backend", "memory", "--role", "r", "--stop-timeout", "300ms", "--", "sh", "-c",
		`trap 'echo hup' HUP; trap '' TERM; (trap '' TERM; sleep 1000) & echo ready; while :; do sleep 0.05; done`)
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer watchdog.Stop()
	lines := bufio.NewScanner(out)
	expect := func(want string) {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("got %q, want %q", lines.Text(), want)
		}
	}
	expect("ready")
	_ = cmd.Process.Signal(syscall.SIGHUP)
	expect("hup")
	began := time.Now()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if lines.Scan() { // the pipe's end means that nothing of the group is left
		t.Errorf("got %q after SIGTERM", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
