package main

import (
	"bufio"
	"context"
	"fmt"
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
	alone       bool // its wrapper was stopped: overlap is not judged
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
		if t.Failed() {
			r.logs()
		}
	})
	return r
}

// logs shows what the wrappers logged.
func (r *trio) logs() {
	for _, p := range r.peers {
		if text, err := os.ReadFile(filepath.Join(r.dir, p.ID+".log")); err == nil {
			r.t.Logf("%s:\n%s", p.ID, text)
		}
	}
}

// args are those of a wrapper whose command stamps.
func (r *trio) args(id string, flags ...string) []string {
	var peers []string
	for _, p := range r.peers {
		peers = append(peers, p.String())
	}
	args := append([]string{
		"run", "--role", "r", "--id", id, "--ttl", "500ms", "--on-exit", "restart", "--log-level", "debug",
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
	log, err := os.OpenFile(filepath.Join(r.dir, id+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	in.Close()
	log.Close()
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
		if b.first <= a.last && !a.alone {
			r.t.Errorf("%s (token %d) worked until %v, %s (token %d) from %v", a.id, a.token, a.last, b.id, b.token, b.first)
		}
		if b.token <= a.token {
			r.t.Errorf("token %d after %d", b.token, a.token)
		}
	}
	r.t.Logf("%d terms", len(r.spans))
}

// TestFaults kills, stops and wakes wrappers and commands of the active and of
// standbys, in an order drawn by a seed, and judges the commands' own stamps.
func TestFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	r := newTrio(t)
	for _, p := range r.peers {
		r.start(p.ID)
	}
	now := r.active(0)
	deck := append(draw.Perm(len(faults)), draw.Perm(len(faults))...)
	for _, i := range deck {
		r.inLine(2)
		standby := r.peers[draw.IntN(3)].ID
		for standby == now.id {
			standby = r.peers[draw.IntN(3)].ID
		}
		t.Logf("%s (active %s, standby %s)", faults[i].name, now.id, standby)
		now = faults[i].inject(r, now, standby)
	}
	for _, p := range r.peers {
		r.kill(p.ID, syscall.SIGTERM)
	}
	r.judge()
}

// faults are what happens to a trio; each returns who works then.
var faults = []struct {
	name   string
	inject func(r *trio, now span, standby string) span
}{
	{"SIGKILL of the active's wrapper", func(r *trio, now span, _ string) span {
		r.kill(now.id, syscall.SIGKILL)
		return r.replaced(now)
	}},
	{"clean stop of the active", func(r *trio, now span, _ string) span {
		r.kill(now.id, syscall.SIGTERM)
		return r.replaced(now)
	}},
	{"SIGKILL of the command", func(r *trio, now span, _ string) span {
		_ = syscall.Kill(now.pid, syscall.SIGKILL)
		return r.active(now.token)
	}},
	{"the command is stopped and woken", func(r *trio, now span, _ string) span {
		_ = syscall.Kill(now.pid, syscall.SIGSTOP)
		r.pause(now.token)
		_ = syscall.Kill(now.pid, syscall.SIGCONT)
		return r.active(now.token - 1)
	}},
	{"wrapper and command are stopped, the wrapper is woken", func(r *trio, now span, _ string) span {
		_ = syscall.Kill(now.pid, syscall.SIGSTOP)
		r.signal(now.id, syscall.SIGSTOP)
		next := r.active(now.token)
		r.signal(now.id, syscall.SIGCONT) // it finds its time over, and kills the command, which sleeps on
		_ = r.procs[now.id].Wait()
		r.start(now.id)
		return next
	}},
	{"the wrapper alone is stopped and woken", func(r *trio, now span, _ string) span {
		r.alone(now.token) // the command works on: no witness is there to see to it
		r.signal(now.id, syscall.SIGSTOP)
		next := r.active(now.token)
		r.signal(now.id, syscall.SIGCONT)
		_ = r.procs[now.id].Wait()
		r.start(now.id)
		return next
	}},
	{"SIGKILL of a standby", func(r *trio, now span, standby string) span {
		r.kill(standby, syscall.SIGKILL)
		r.start(standby)
		return r.active(now.token - 1)
	}},
	{"a standby is stopped and woken", func(r *trio, now span, standby string) span {
		r.signal(standby, syscall.SIGSTOP)
		r.pause(now.token)
		r.signal(standby, syscall.SIGCONT)
		return r.active(now.token - 1)
	}},
}

// replaced waits for a successor, and starts the wrapper again that is gone.
func (r *trio) replaced(now span) span {
	next := r.active(now.token)
	r.start(now.id)
	return next
}

// pause lets some beats pass in which nobody but the holder of the token may work.
func (r *trio) pause(token uint64) {
	time.Sleep(300 * time.Millisecond)
	if now := r.active(token - 1); now.token != token {
		r.t.Logf("token %d instead of %d after a pause", now.token, token)
	}
}

// alone says that the wrapper of a term is stopped while its command works.
func (r *trio) alone(token uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		s.alone = s.alone || s.token == token
	}
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
