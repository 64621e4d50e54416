//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestIsolate kills wrapper and witness in the same moment, with a grandchild that has
// left the command's group: it dies with them.
func TestIsolate(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newTrio(t, onEtcd)
	r.ttl = time.Second
	r.command = []string{"sh", "-c", "setsid " + os.Args[0] + " & wait"}
	r.start("a", "--isolate")
	now := r.active(0)
	witness := r.witness("a")
	_ = syscall.Kill(witness, syscall.SIGSTOP)
	_ = syscall.Kill(witness, syscall.SIGKILL)
	r.kill("a", syscall.SIGKILL)
	r.noProcessLeft()
	r.start("b", "--isolate")
	if next := r.active(now.token); next.id != "b" {
		t.Errorf("%s works", next.id)
	}
	r.kill("b", syscall.SIGTERM)
	r.judge()
	r.nothingLeft()
}

// TestFirstProcess runs a wrapper as the first process of a PID namespace, as in a
// container: it makes itself the second, so that its witness outlives it, and ends with
// its code when the witness is done.
func TestFirstProcess(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newTrio(t, onEtcd)
	r.ttl = time.Minute
	args := append([]string{"-pf", "--mount-proc", os.Args[0]}, r.args("a")...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper", "UNDERSTUDY_TEST_MARK="+r.dir)
	var errs strings.Builder
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	r.pipes.Go(func() { r.read(out) })
	first := r.active(0)
	_ = syscall.Kill(r.wrapperOf("a"), syscall.SIGKILL)
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+9 {
		t.Errorf("%v: exit code %d, want %d\n%s", err, code, 128+9, errs.String())
	}
	if !strings.Contains(errs.String(), "its session is ended") {
		t.Errorf("the witness did not end the session:\n%s", errs.String())
	}
	r.start("b")
	r.active(first.token)
	r.kill("b", syscall.SIGTERM)
	r.judge()
	r.nothingLeft()
}

// TestLockFile kills a container with all that is in it, the witness too, and starts it again: with the lock file on a volume
// nobody waits for the ttl.
func TestLockFile(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newTrio(t, onEtcd)
	r.ttl = time.Minute
	r.through = map[string][]string{"a": {"unshare", "-pf", "--mount-proc", "--kill-child"}}
	r.own = map[string][]string{"a": {"--lock-file", filepath.Join(r.dir, "lock")}}
	r.start("a")
	first := r.active(0)
	r.start("b")
	r.inLine(1)
	died := time.Now()
	r.kill("a", syscall.SIGKILL)
	r.start("a")
	second := r.active(first.token)
	took := time.Since(died)
	t.Logf("%s works %v after the container died", second.id, took)
	if took > r.ttl {
		t.Errorf("%s works %v after the container died, and the ttl is %v", second.id, took, r.ttl)
	}
	r.inLine(1)
	r.kill("a", syscall.SIGKILL)
	r.kill("b", syscall.SIGTERM)
	r.judge()
	r.noProcessLeft()
}

// wrapperOf is the wrapper that a first process has started.
func (r *trio) wrapperOf(id string) int {
	r.t.Helper()
	for _, line := range r.left() {
		pid, args, _ := strings.Cut(line, ": ")
		if !strings.HasPrefix(args, "unshare") && strings.Contains(args, " run ") && strings.Contains(args, " --id "+id+" ") {
			if n, _ := strconv.Atoi(pid); r.isChildOfFirst(n) {
				return n
			}
		}
	}
	r.t.Fatal("there is no wrapper")
	return 0
}

// isChildOfFirst reports whether a process's grandparent is unshare.
func (r *trio) isChildOfFirst(pid int) bool {
	_, first := r.state(pid)
	_, outer := r.state(first)
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", outer))
	return strings.TrimSpace(string(name)) == "unshare"
}

// TestProcOfAnotherNamespace: where /proc shows other processes than ours, run does not begin: it could end nothing that a
// command leaves behind.
func TestProcOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("unshare", "--map-root-user", "-pf", "--kill-child", filepath.Join(shipped(t), "understudy"), "run", "--backend", "memory", "--role", "r", "--", "true")
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != cli.Usage || !strings.Contains(string(out), "/proc is that of another PID namespace") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a namespace takes root; CI runs this as root")
	}
}

// TestWarmIsolated: a warm command in a PID namespace has its socket, too.
func TestWarmIsolated(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newTrio(t, onRaft)
	r.warmed("--isolate")
	r.startAll()
	now := r.warmAt()
	r.handoff()
	r.active(now.token)
	r.startedOnce(r.ids...)
	r.finish()
}
