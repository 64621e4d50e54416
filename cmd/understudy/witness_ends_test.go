package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRestartWaits starts a wrapper again under its ID while the witness of the one
// before is stopped: the grandchild works on, so the new one waits, until that witness
// goes on and has killed it.
func TestRestartWaits(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = time.Minute
	r.grandchildren()
	r.start("a")
	now := r.active(0)
	pid := r.witness("a")
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	r.kill("a", syscall.SIGKILL)
	r.start("a")
	time.Sleep(time.Second) // nobody tells that nothing happens
	if next := r.active(0); next.token != now.token {
		t.Errorf("a promise is broken: token %d works beside token %d", next.token, now.token)
	}
	_ = syscall.Kill(pid, syscall.SIGCONT)
	r.active(now.token)
	r.kill("a", syscall.SIGTERM)
	r.judge()
	r.nothingLeft()
}

// TestWrapperAndInitKilled kills a wrapper and its command's init in one moment. The command dies with its init, and
// its witness kills the child of the command that works on, before another one begins.
func TestWrapperAndInitKilled(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = 30 * time.Second
	r.grandchildren()
	r.startAll()
	for range 3 {
		now := r.settle()
		wrapper, init := r.procs[now.id].Process.Pid, r.init(now.id)
		r.send(wrapper, syscall.SIGSTOP)
		r.send(init, syscall.SIGKILL)
		r.kill(now.id, syscall.SIGKILL)
		r.active(now.token)
		r.start(now.id)
	}
	for _, id := range r.ids {
		r.kill(id, syscall.SIGTERM)
	}
	r.judge()
	r.nothingLeft()
}

// TestWitnessReplaced kills a wrapper's witness again and again: the command works on,
// and no descriptor is left behind.
func TestWitnessReplaced(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.ttl = 5 * time.Second
	r.startAll()
	now := r.settle()
	descriptors := func() int {
		all, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.procs[now.id].Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := descriptors()
	for range 10 {
		old := r.witness(now.id)
		_ = syscall.Kill(old, syscall.SIGKILL)
		r.eventually("there is another witness", func() bool { pid := r.witness(now.id); return pid != old && pid != 0 })
	}
	r.eventually(fmt.Sprintf("there are no more descriptors than the %d before ten witnesses", before), func() bool {
		return descriptors() <= before+2 // connections come and go
	})
	if still := r.settle(); still.token != now.token {
		t.Errorf("token %d works, want %d still", still.token, now.token)
	}
	r.killAtWork(now)
	r.judge()
}

// TestWitnessWithoutStore kills a wrapper while the store is down: its witness kills the
// command at once, tries for as long as the promise, gives up with a line in the log, and
// leaves nothing. The session of the other wrapper is not touched.
func TestWitnessWithoutStore(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	store := r.cluster.Members[0]
	r.ids = []string{"a", "b"}
	r.grandchildren()
	r.start("a")
	now := r.active(0)
	r.start("b")
	r.inLine(1)
	store.Kill()
	r.kill("a", syscall.SIGKILL)
	r.eventually("the witness gives up", func() bool { return strings.Contains(r.log("a"), "it expires with its promise") })
	r.eventually("nothing is left of a", func() bool {
		return !slices.ContainsFunc(r.left(), func(s string) bool {
			return !strings.Contains(s, "--id b") && !strings.Contains(s, "understudy-witness")
		})
	})
	if err := store.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.active(now.token)
	r.kill("b", syscall.SIGTERM)
	r.judge()
	r.nothingLeft()
}

// TestFrozenHost stops wrapper, command, its init and the witness at once, and wakes them when a
// successor works. From that nothing but the token protects: stale stamps are counted and
// timed, and a guard that goes by the greatest token refuses every one of them.
func TestFrozenHost(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = time.Second
	r.startAll()
	stale := 0
	for round := range 8 {
		now := r.settle()
		host := []int{now.pid, r.init(now.id), r.witness(now.id), r.procs[now.id].Process.Pid} // the command wakes first
		if round > 4 {                                                                         // its init goes on, and kills it before the others wake
			host = slices.Delete(host, 1, 2)
		}
		for _, pid := range host {
			r.send(pid, syscall.SIGSTOP)
		}
		next := r.active(now.token)
		r.mu.Lock()
		r.refused = nil
		r.mu.Unlock()
		for _, pid := range host {
			_ = syscall.Kill(pid, syscall.SIGCONT)
			time.Sleep(5 * time.Millisecond) // one wakes after the other
		}
		r.settle() // the old one was killed, and stands by again
		r.mu.Lock()
		for _, s := range r.spans {
			if s.token != now.token || s.last < next.first {
				continue
			}
			t.Logf("%d stale stamps, the last one %v after the successor's first", len(r.refused), s.last-next.first)
			stale += len(r.refused)
			if n := len(r.refused); n == 0 || r.refused[n-1] != s.last {
				t.Errorf("the last stale stamp was not refused")
			}
		}
		r.mu.Unlock()
	}
	if stale == 0 {
		t.Error("no stale stamp came, so the guard was not tried")
	}
	for _, id := range r.ids {
		if strings.Contains(r.log(id), "the work is done") {
			t.Errorf("%s takes the end of its promise for the end of its work", id)
		}
		r.kill(id, syscall.SIGTERM)
	}
	r.nothingLeft()
}

// TestNoOrders is a witness that nobody started as one: it ends at once.
func TestNoOrders(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Args[0] = "understudy-witness"
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("a witness without orders goes on: %s", out)
	}
}
