//go:build linux

package procgroup

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// parent is a process with a group, in which all kinds of daemons work.
func parent(t *testing.T, deadline ...string) (*exec.Cmd, []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"wrapper"}, deadline...)...)
	out := lab.Output(t, cmd)
	t.Cleanup(Spare(cmd.Process.Pid))
	pids := numbers(t, bufio.NewScanner(out), 4)
	t.Cleanup(func() {
		for _, pid := range pids {
			if lives(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	return cmd, pids
}

// TestParentKilled kills a process that has a group: nothing of that lives on.
func TestParentKilled(t *testing.T) {
	cmd, pids := parent(t)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "nothing lives", func() bool { return !slices.ContainsFunc(pids, lives) })
}

// TestInitKilled kills a group's init: the first process dies with it, and what was
// orphaned is killed before the group counts as gone. Another group works on, and so
// does a child of this process that is nobody's orphan.
func TestInitKilled(t *testing.T) {
	other := start(t, "sleep 1000")
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer Spare(child.Process.Pid)()
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	g, pids := reading(t, shell(daemons), 4)
	_ = syscall.Kill(g.id.pid(), syscall.SIGKILL)
	<-g.Gone()
	for _, pid := range pids {
		if _, err := stat(pid); err == nil {
			t.Errorf("%d of %d is left", pid, pids)
		}
	}
	if g.Code() != 137 || isGone(other) || !lives(child.Process.Pid) {
		t.Errorf("code %d, want 137; another group is gone: %v; another child lives: %v", g.Code(), isGone(other), lives(child.Process.Pid))
	}
}

// TestHandle ends a group from without, also where its init is stopped.
func TestHandle(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		g, pids := reading(t, shell(daemons), 4)
		h := Find(g.id)
		defer h.Close()
		if stopped {
			_ = syscall.Kill(g.id.pid(), syscall.SIGSTOP)
		}
		Kill(h)
		End(h)
		for _, pid := range pids {
			if lives(pid) {
				t.Errorf("%d of %d lives", pid, pids)
			}
		}
		<-g.Gone()
	}
}

// TestNumberReused finds nothing under a number that is another process's by now, and
// kills nothing of it.
func TestNumberReused(t *testing.T) {
	g, pids := reading(t, shell("echo $$; exec sleep 1000"), 1)
	for _, id := range []ID{g.id - 1<<pidBits, g.id + 1<<pidBits} {
		h := Find(id)
		Kill(h)
		End(h)
		h.Close()
	}
	before := Handle{id: g.id} // of a time when the init was gone
	Kill(before)
	End(before)
	p, err := stat(pids[0])
	if err != nil {
		t.Fatal(err)
	}
	p.start-- // one that had the number before
	tree{root: g.id.pid()}.send(p, syscall.SIGKILL)
	time.Sleep(20 * time.Millisecond) // a signal would have come by then
	if !lives(pids[0]) || isGone(g) {
		t.Error("a process was killed for another one's number")
	}
}
