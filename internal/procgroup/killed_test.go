//go:build linux

package procgroup

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// TestKillBelow stops a process and kills the init of its group, whose daemons fork anew for ever: what
// is told to end all that is below the process returns when nothing of it is left.
func TestKillBelow(t *testing.T) {
	cmd := exec.Command(os.Args[0], "storm")
	lines := bufio.NewScanner(lab.Output(t, cmd))
	t.Cleanup(Spare(cmd.Process.Pid))
	init := numbers(t, lines, 1)[0]
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	_ = syscall.Kill(init, syscall.SIGKILL)
	if lines.Scan(); lines.Text() != "dead: true" {
		t.Errorf("what is below a stopped process whose init is dead: %q", lines.Text())
	}
}

// forkForever has a group of daemons that fork anew, and beside it what is to kill them. Each does so a thousand
// times, which takes far longer than the test: more would take all numbers of the machine if they won.
func forkForever() {
	begun, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	s := shell(strings.Repeat(`sh -c "$RELAY"; `, 8) + "echo; sleep 1000")
	s.Stdout, s.Env = w, append(s.Env, "LEFT=1000", `RELAY=LEFT=$((LEFT-1)); [ $LEFT -gt 0 ] || { echo; exit; }; setsid sh -c "$RELAY" & exit 0`)
	g, err := Start(context.Background(), s)
	if err != nil {
		panic(err)
	}
	if _, err := begun.Read(make([]byte, 1)); err != nil {
		panic(err)
	}
	killer := exec.Command(os.Args[0], "below", strconv.FormatUint(uint64(g.id), 10))
	killer.Stdout, killer.Stderr = os.Stdout, os.Stderr
	if err := killer.Start(); err != nil {
		panic(err)
	}
	Spare(killer.Process.Pid)
	fmt.Println(g.id.pid())
	<-g.Gone()
}

// killAbove waits until an init is dead, and says what KillBelow has left of it.
func killAbove(id string) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		panic(err)
	}
	h := Find(ID(n))
	for h.lives() {
		time.Sleep(time.Millisecond) // until it is killed
	}
	mine, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		panic(err)
	}
	KillBelow(mine, h)
	t := tree{root: os.Getppid(), spare: func(pid int) bool { return pid == os.Getpid() }}
	fmt.Println("dead:", t.dead())
	_ = syscall.Kill(t.root, syscall.SIGKILL)
}

// TestKillBelowNobody: a process whose parent has died has another one, and what is below that is spared.
func TestKillBelowNobody(t *testing.T) {
	cmd := exec.Command(os.Args[0], "adopter")
	lines := bufio.NewScanner(lab.Output(t, cmd))
	t.Cleanup(Spare(cmd.Process.Pid))
	if lines.Scan(); lines.Text() != "the bystander lives: true" {
		t.Errorf("%q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// adopt has a child that ends and leaves a child of its own, "orphan", to this process, and says what became of another child.
func adopt() {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	check(becomeReaper())
	bystander := exec.Command("sleep", "1000")
	check(bystander.Start())
	middle := exec.Command(os.Args[0], "middle")
	out, err := middle.StdoutPipe()
	check(err)
	check(middle.Start())
	_, err = bufio.NewReader(out).ReadString('\n') // the orphan has tried
	check(err)
	alive := running(must(unix.PidfdOpen(bystander.Process.Pid, 0)))
	fmt.Println("the bystander lives:", alive)
	_ = bystander.Process.Kill()
	_, _ = bystander.Wait(), middle.Wait()
}

// leave ends, and leaves a child that shares its output and has its pidfd.
func leave() {
	me := os.NewFile(uintptr(must(unix.PidfdOpen(os.Getpid(), 0))), "me")
	orphan := exec.Command(os.Args[0], "orphan")
	orphan.Stdout, orphan.ExtraFiles = os.Stdout, []*os.File{me}
	if err := orphan.Start(); err != nil {
		panic(err)
	}
}

// killAsOrphan waits until its parent has ended, and is then told to kill all that is below it.
func killAsOrphan() {
	const parent = 3
	for running(parent) {
		time.Sleep(time.Millisecond) // until it has ended
	}
	KillBelow(parent, Handle{id: 1}) // of an init that is dead
	fmt.Println("tried")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestDeadBesideOthers says that nothing is left below a process, while other processes of the machine come
// and go: a role must not wait until they rest.
func TestDeadBesideOthers(t *testing.T) {
	alone := exec.Command("sleep", "1000")
	if err := alone.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alone.Process.Kill(); _ = alone.Wait() }()
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for ctx.Err() == nil {
				_ = exec.Command("true").Run()
			}
		})
	}
	for look := range 200 {
		if !(tree{root: alone.Process.Pid}).dead() {
			t.Errorf("look %d: something lives below a process that has no children", look)
			break
		}
	}
	stop()
	others.Wait()
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
