//go:build linux

package group

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the wrapper that TestWrapperKilled kills.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "zombie") {
		leaveZombie(os.Args[1])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "leaderless" {
		loseLeader()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "wrapper" {
		g, err := Start(shell("echo $$; exec sleep 1000"))
		if err != nil {
			panic(err)
		}
		<-g.Done()
		return
	}
	os.Exit(m.Run())
}

func shell(script string) Spec {
	return Spec{Path: "/bin/sh", Argv: []string{"sh", "-c", script}, Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
}

func start(t *testing.T, script string) *Group {
	t.Helper()
	g, err := Start(shell(script))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Kill()
		if err := g.WaitEmpty(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestCode(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 137, "kill -15 $$": 143} {
		g := start(t, script)
		<-g.Done()
		if g.Code() != want {
			t.Errorf("%s: code %d, want %d", script, g.Code(), want)
		}
	}
}

// TestSeveral runs many at once, that end at once and leave something behind: each is
// told its own code, and none takes another's child for an orphan.
func TestSeveral(t *testing.T) {
	var groups []*Group
	for i := range 30 {
		groups = append(groups, start(t, fmt.Sprintf("(sleep 0.1 &) ; exit %d", i)))
	}
	for i, g := range groups {
		<-g.Done()
		if g.Code() != i {
			t.Errorf("code %d, want %d", g.Code(), i)
		}
		if isDirect(g.pid) {
			t.Error("is waited for when it was reaped")
		}
	}
	long := start(t, "exec sleep 1000")
	if !isDirect(long.pid) {
		t.Error("a sweeper may take the child of a living group")
	}
}

// TestGrandchild leaves one behind that ignores SIGTERM: it counts until killed.
func TestGrandchild(t *testing.T) {
	g := start(t, `trap "" TERM; (sleep 1000 & wait) & exit 0`)
	<-g.Done()
	g.Terminate()
	time.Sleep(50 * time.Millisecond)
	if g.Empty() {
		t.Error("empty with a grandchild that ignores SIGTERM")
	}
	g.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := g.WaitEmpty(ctx); err != nil {
		t.Error("not empty after SIGKILL")
	}
}

// TestZombie has a member that is dead, but that its parent, which has left the
// group, does not reap.
func TestZombie(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g, err := Start(Spec{Path: os.Args[0], Argv: []string{os.Args[0], "zombie"}, Stdout: in, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	line, _ := bufio.NewReader(out).ReadString('\n')
	parent, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := g.WaitEmpty(ctx); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(-g.pid, 0); err != nil {
		t.Errorf("the zombie is not there, so this shows nothing: %v", err)
	}
	_ = syscall.Kill(parent, syscall.SIGKILL)
	_, _ = syscall.Wait4(parent, nil, 0, nil)
	collect(g.pid)
}

// leaveZombie is a process that has a child start a grandchild in its group, and
// the child leave the group without reaping it.
func leaveZombie(step string) {
	again := func(args ...string) *os.Process {
		p, err := os.StartProcess(os.Args[0], append([]string{os.Args[0]}, args...), &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
		if err != nil {
			panic(err)
		}
		return p
	}
	switch step {
	case "zombie":
		again("zombie-parent")
		time.Sleep(time.Second)
	case "zombie-parent":
		awaitEnd(again("zombie-dead").Pid) // which leaves it a zombie
		if err := syscall.Setpgid(0, 0); err != nil {
			panic(err)
		}
		fmt.Println(os.Getpid())
		time.Sleep(time.Minute)
	}
}

// TestThreads has a leader that is a zombie while another thread works on.
func TestThreads(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	g, err := Start(Spec{Path: "/bin/sh", Argv: []string{"sh", "-c", `"$0" leaderless & exit 0`, os.Args[0]}, Stdout: in, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	<-g.Done()
	if p, err := stat(pid); err != nil || p.state != "Z" {
		t.Errorf("the leader is no zombie, so this shows nothing: %+v, %v", p, err)
	}
	if g.Empty() {
		t.Error("empty with a thread that works on")
	}
	g.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := g.WaitEmpty(ctx); err != nil {
		t.Error(err)
	}
}

// loseLeader ends the first thread of this process, and nothing else.
func loseLeader() {
	first := make(chan struct{})
	for range 100 { // one of them runs on the first thread
		go func() {
			runtime.LockOSThread()
			if syscall.Gettid() == os.Getpid() {
				close(first)
				_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
			}
			time.Sleep(time.Minute)
		}()
	}
	<-first
	for p, err := stat(os.Getpid()); err == nil && p.state != "Z"; p, err = stat(os.Getpid()) {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(os.Getpid())
	time.Sleep(time.Minute)
}

// TestRelay has processes that each fork the next one and end: whichever is
// looked at is dead, and the group never is empty.
func TestRelay(t *testing.T) {
	t.Setenv("RELAY", `sh -c "$RELAY" & exit 0`)
	g := start(t, `eval "$RELAY"`)
	<-g.Done()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if g.Empty() {
			g.mu.Lock()
			g.empty = false // so that the test can end it
			g.mu.Unlock()
			t.Fatal("empty while every member forks another")
		}
	}
}

// lives reports whether a process is there and no zombie.
func lives(pid int) bool {
	p, err := stat(pid)
	return err == nil && !p.dead()
}

// TestWrapperKilled kills a wrapper: its command dies with it.
func TestWrapperKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0], "wrapper")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); lives(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the command outlived its wrapper")
		}
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}
