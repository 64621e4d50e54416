package main

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/grpclog"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
)

var must = lab.Must

// TestMain is also the command and the wrapper of the tests: this binary, run
// again.
func TestMain(m *testing.M) {
	addFifth()
	cli.Prepare()
	switch os.Getenv("UNDERSTUDY_TEST") {
	case "grpc":
		grpclog.Error("past the log")
		os.Exit(0)
	case "root":
		if err := syscall.Setuid(0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		stampForever()
	case "stamp":
		stampForever()
	case "notify":
		go notifyForever()
		stampForever()
	case "warm":
		stampWarm()
	case "disk":
		go notifyForever()
		go writeForever()
		stampForever()
	case "wrapper", "wrapper root":
		if os.Getpid() != 1 { // which starts itself once more, to be the wrapper
			_, what, _ := strings.Cut(os.Getenv("UNDERSTUDY_TEST"), " ")
			os.Setenv("UNDERSTUDY_TEST", cmp.Or(what, "stamp"))
		}
		os.Exit(program(os.Args[1:]))
	}
	if size, ok := strings.CutPrefix(os.Getenv("UNDERSTUDY_TEST"), "fill "); ok {
		n, _ := strconv.Atoi(size)
		fill(n)
	}
	if address, ok := strings.CutPrefix(os.Getenv("UNDERSTUDY_TEST"), "serve "); ok {
		serveID(address)
	}
	if text, ok := strings.CutPrefix(os.Getenv("UNDERSTUDY_TEST"), "embed "); ok {
		if err := embed(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// With the race detector every process of ours would sleep for a second as it ends: more
	// than what stops a command leaves.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	if runtime.GOMAXPROCS(0) < atOnce {
		_ = flag.Set("test.parallel", strconv.Itoa(atOnce)) // the flag is there, and a number is one
	}
	lab.Heed()
	code := m.Run()
	for _, one := range atEnd {
		one()
	}
	os.Exit(code)
}

// atOnce is how many tests run at once on a small machine, too: they mostly wait.
const atOnce = 4

// atEnd is what is done after all tests.
var atEnd []func()

// shipped is a folder with understudy and understudy-lab as they are shipped, built once for
// all tests.
func shipped(t *testing.T) string {
	t.Helper()
	dir, err := buildShipped()
	must(t, err)
	return dir
}

var buildShipped = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "understudy-shipped")
	if err != nil {
		return "", err
	}
	atEnd = append(atEnd, func() { _ = os.RemoveAll(dir) })
	build := exec.Command("go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", dir, ".", "../understudy-lab") // as make build
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	return dir, build.Run()
})

// TestFaults kills, stops and wakes wrappers and commands of the active and of
// standbys, in an order drawn by a seed, and judges the commands' own stamps.
func TestFaults(t *testing.T) { onEveryStore(t, testFaults) }

func testFaults(t *testing.T, r *trio) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	r.more = append(r.more, "--hang-timeout", "0") // the deadline alone: otherwise the witness ends a process that is stopped for a moment
	r.startAll()
	for _, i := range append(draw.Perm(len(faults)), draw.Perm(len(faults))...) {
		now := r.settle() // on a busy machine the last fault may have cost more than was meant
		standby := r.ids[draw.IntN(3)]
		for standby == now.id {
			standby = r.ids[draw.IntN(3)]
		}
		t.Logf("%s (active %s, standby %s)", faults[i].name, now.id, standby)
		faults[i].inject(r, now, standby)
	}
	for _, id := range r.ids {
		r.kill(id, syscall.SIGTERM)
	}
	r.judge()
}

// faults are what happens to a trio; each waits until somebody works again.
var faults = []struct {
	name   string
	inject func(r *trio, now span, standby string)
}{
	{"SIGKILL of the active's wrapper", func(r *trio, now span, _ string) {
		r.kill(now.id, syscall.SIGKILL)
		r.replaced(now)
	}},
	{"clean stop of the active", func(r *trio, now span, _ string) {
		r.kill(now.id, syscall.SIGTERM)
		r.replaced(now)
	}},
	{"SIGKILL of the command", func(r *trio, now span, _ string) {
		_ = syscall.Kill(now.pid, syscall.SIGKILL)
		r.active(now.token)
	}},
	{"the command is stopped and woken", func(r *trio, now span, _ string) {
		_ = syscall.Kill(now.pid, syscall.SIGSTOP)
		r.pause(now.token)
		_ = syscall.Kill(now.pid, syscall.SIGCONT)
		r.active(now.token - 1)
	}},
	{"wrapper and command are stopped", func(r *trio, now span, _ string) {
		_ = syscall.Kill(now.pid, syscall.SIGSTOP)
		r.signal(now.id, syscall.SIGSTOP)
		r.active(now.token) // its witness kills both
		r.killed(now)
		r.start(now.id)
	}},
	{"the wrapper alone is stopped", func(r *trio, now span, _ string) {
		r.signal(now.id, syscall.SIGSTOP) // the command works on, until its witness kills it at the deadline
		r.active(now.token)
		r.killed(now)
		r.start(now.id)
	}},
	{"SIGKILL of a standby", func(r *trio, now span, standby string) {
		r.kill(standby, syscall.SIGKILL)
		r.start(standby)
		r.active(now.token - 1)
	}},
	{"a standby is stopped and woken", func(r *trio, now span, standby string) {
		r.signal(standby, syscall.SIGSTOP)
		r.pause(now.token)
		r.signal(standby, syscall.SIGCONT)
		r.active(now.token - 1)
	}},
}

// killed waits until the witness of a stopped wrapper has killed it. On a busy machine the
// wrapper may have lost its role a moment before it was stopped. Then its command is gone,
// nobody has to kill it, and the test does.
func (r *trio) killed(was span) {
	ended := make(chan struct{})
	cmd := r.procs[was.id]
	go func() { defer close(ended); _ = cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(lab.Patience):
		if syscall.Kill(was.pid, 0) == nil {
			r.t.Errorf("%s is stopped and not killed, and its command lives\n%s", was.id, r.situation())
		}
		_ = cmd.Process.Kill()
		<-ended
	}
	delete(r.procs, was.id)
}

// replaced waits for a successor, and starts the wrapper again that is gone.
func (r *trio) replaced(now span) {
	r.active(now.token)
	r.start(now.id)
}

// pause lets some beats pass in which nobody but the holder of the token may work.
func (r *trio) pause(token uint64) {
	time.Sleep(300 * time.Millisecond) // several beats; nobody tells that nothing happens
	if now := r.active(token - 1); now.token != token {
		r.t.Logf("token %d instead of %d after a pause", now.token, token)
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
	out := lab.Output(t, cmd)
	watchdog := time.AfterFunc(lab.Patience, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
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
