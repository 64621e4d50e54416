//go:build linux

package procgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/lab"
)

var eventually = lab.Eventually

// TestMain is also the wrapper that tests kill or stop.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "zombie") {
		leaveZombie(os.Args[1])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "owngroup" {
		superviseOnce()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "leaderless" {
		loseLeader()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "wrapper" {
		s := shell(daemons)
		if len(os.Args) > 2 {
			s.Deadline = within(os.Args[2])
		}
		g, err := Start(context.Background(), s)
		if err != nil {
			panic(err)
		}
		<-g.Gone()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "woken" {
		wake(os.Args[2])
		return
	}
	if roles := map[string]func(){"adopter": adopt, "middle": leave, "orphan": killAsOrphan, "waker": killWoken}; len(os.Args) > 1 && roles[os.Args[1]] != nil {
		roles[os.Args[1]]()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "storm" {
		forkForever()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "below" {
		killAbove(os.Args[2])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "supervisor" {
		os.Args[1] = "supervised"
		os.Exit(Supervise(make(chan os.Signal, 16)))
	}
	if len(os.Args) > 1 && os.Args[1] == "supervised" {
		fmt.Println(os.Getpid())
		time.Sleep(time.Minute) // until it is ended
		return
	}
	lab.Heed()
	os.Exit(m.Run())
}

func shell(script string) Spec {
	return Spec{Path: "/bin/sh", Argv: []string{"sh", "-c", script}, Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
}

func start(t *testing.T, script string) *Group {
	t.Helper()
	return startSpec(t, shell(script))
}

func startSpec(t *testing.T, s Spec) *Group {
	t.Helper()
	g, err := Start(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, g) })
	return g
}

// end kills a group, and waits until it is gone.
func end(t *testing.T, g *Group) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; g.Kill() {
		select {
		case <-g.Gone():
			return
		case <-time.After(20 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("the group does not end")
			}
		}
	}
}

// reading starts a script, and returns the numbers that it writes on a line of their own.
func reading(t *testing.T, s Spec, n int) (*Group, []int) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.Stdout = in
	g := startSpec(t, s)
	in.Close()
	t.Cleanup(func() { out.Close() })
	return g, numbers(t, bufio.NewScanner(out), n)
}

func numbers(t *testing.T, lines *bufio.Scanner, n int) (all []int) {
	t.Helper()
	for range n {
		if !lines.Scan() {
			t.Fatal("the script ended early")
		}
		pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pid)
	}
	return all
}

// lives reports whether a process is there and no zombie.
func lives(pid int) bool {
	p, err := stat(pid)
	return err == nil && !p.dead()
}

// isGone reports whether a group is.
func isGone(g *Group) bool {
	select {
	case <-g.Gone():
		return true
	default:
		return false
	}
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

// TestInherited gives the program what this process was started with, and nothing of ours.
func TestInherited(t *testing.T) {
	list := func(files ...*os.File) string {
		t.Helper()
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		s := Spec{Path: "/bin/sh", Argv: []string{"sh", "-c", "cd /proc/$$/fd && echo *; cat"}, Stdout: in, Stderr: os.Stderr}
		if len(files) > 0 {
			s.Stdin = files[0]
		}
		g := startSpec(t, s)
		in.Close()
		<-g.Gone()
		text, _ := io.ReadAll(out)
		return string(text)
	}
	before := list()
	null, err := unix.Open(os.DevNull, unix.O_RDONLY, 0) // as a descriptor that was inherited
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	input, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	_, _ = input.WriteString("hello")
	_, _ = input.Seek(0, io.SeekStart)
	after := list(input)
	fields := strings.Fields(strings.TrimSuffix(after, "hello"))
	if len(fields) != len(strings.Fields(before))+1 || !slices.Contains(fields, strconv.Itoa(null)) || !strings.HasSuffix(after, "hello") {
		t.Errorf("the program has %q, and with %d inherited and an input %q", before, null, after)
	}
}

// TestNotStarted says why, and leaves nothing.
func TestNotStarted(t *testing.T) {
	s := shell("")
	s.Path = "/nonexistent"
	if _, err := Start(context.Background(), s); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v, want %v", err, syscall.ENOENT)
	}
	s = shell("echo $$; sleep 1000")
	refused := errors.New("refused")
	s.Gate = func(ID) error { return refused }
	if _, err := Start(context.Background(), s); !errors.Is(err, refused) {
		t.Errorf("%v, want %v", err, refused)
	}
	eventually(t, "no child is left", func() bool { return tree{root: os.Getpid()}.dead() })
}

// TestSeveral runs many at once, that end at once and leave something behind: each is
// told its own code.
func TestSeveral(t *testing.T) {
	var groups []*Group
	for i := range 10 {
		groups = append(groups, start(t, fmt.Sprintf("(sleep 0.1 &) ; exit %d", i)))
	}
	for i, g := range groups {
		<-g.Done()
		if g.Code() != i {
			t.Errorf("code %d, want %d", g.Code(), i)
		}
	}
}

// daemons are of every kind: in the first process's group, in a session of its own, with
// no environment, started by one that has ended. The first process works on.
const daemons = `sleep 1001 & echo $!
setsid -f sh -c 'echo $$; exec sleep 1002'
setsid -f env -i sh -c 'echo $$; exec sleep 1003'
echo $$; exec sleep 1004`

// TestDaemon has a first process that ends while what it has started works on: that is
// asked to end, and the group is gone when nothing of it is left.
func TestDaemon(t *testing.T) {
	g, pids := reading(t, shell(daemons), 4)
	g.Signal(syscall.SIGUSR1)
	<-g.Done()
	if g.Code() != 138 {
		t.Errorf("code %d, want 138", g.Code())
	}
	<-g.Gone()
	for _, pid := range pids {
		if lives(pid) {
			t.Errorf("%d of %d lives", pid, pids)
		}
	}
}

// TestStubbornDaemon ignores SIGTERM: it counts until it is killed.
func TestStubbornDaemon(t *testing.T) {
	g, pids := reading(t, shell(`setsid -f sh -c 'trap "" TERM; echo $$; sleep 1000 & wait'; exec sleep 1000`), 1)
	g.Signal(syscall.SIGUSR1)
	<-g.Done()
	g.Terminate()
	time.Sleep(50 * time.Millisecond) // nobody tells that nothing happens
	if isGone(g) || !lives(pids[0]) {
		t.Error("gone with a daemon that ignores SIGTERM")
	}
	end(t, g)
	if lives(pids[0]) {
		t.Error("gone, and the daemon lives")
	}
}

// TestStopped asks one to end that was stopped, and one that ended before: SIGCONT
// follows SIGTERM.
func TestStopped(t *testing.T) {
	g, pids := reading(t, shell(`setsid -f sh -c 'echo $$; kill -STOP $$; exec sleep 1000'; echo $$; kill -STOP $$; sleep 1000`), 2)
	for _, pid := range pids {
		eventually(t, "it is stopped", func() bool { p, _ := stat(pid); return p.state == "T" })
	}
	g.Terminate()
	select {
	case <-g.Gone():
	case <-time.After(10 * time.Second):
		t.Error("what was stopped never heard SIGTERM")
	}
}

// TestZombie has a member that is dead, but that its parent, which has left the
// group, does not reap.
func TestZombie(t *testing.T) {
	g, pids := reading(t, Spec{Path: os.Args[0], Argv: []string{os.Args[0], "zombie"}, Stderr: os.Stderr}, 1)
	<-g.Done()
	<-g.Gone()
	if lives(pids[0]) {
		t.Error("the zombie's parent lives")
	}
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
		time.Sleep(time.Second) // until it is killed
	case "zombie-parent":
		awaitEnd(again("zombie-dead").Pid) // which leaves it a zombie
		if err := syscall.Setpgid(0, 0); err != nil {
			panic(err)
		}
		fmt.Println(os.Getpid())
		time.Sleep(time.Minute) // until it is killed
	}
}

// TestThreads has a leader that is a zombie while another thread works on.
func TestThreads(t *testing.T) {
	g, pids := reading(t, Spec{Path: "/bin/sh", Argv: []string{"sh", "-c", `"$0" leaderless & wait`, os.Args[0]}, Stderr: os.Stderr}, 1)
	if p, err := stat(pids[0]); err != nil || p.state != "Z" {
		t.Errorf("the leader is not a zombie, so this shows nothing: %+v, %v", p, err)
	}
	if (tree{root: g.id.pid()}).dead() {
		t.Error("dead with a thread that works on")
	}
	end(t, g)
	if _, err := stat(pids[0]); err == nil {
		t.Error("gone with a thread that works on")
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
			time.Sleep(time.Minute) // until it is killed
		}()
	}
	<-first
	for p, err := stat(os.Getpid()); err == nil && p.state != "Z"; p, err = stat(os.Getpid()) {
		time.Sleep(time.Millisecond) // until the first thread is gone
	}
	fmt.Println(os.Getpid())
	time.Sleep(time.Minute) // until it is killed
}

// TestRelay has processes that each fork the next one and end, in sessions of their own
// too: whichever is looked at is dead, and the group never is gone, until it is killed.
func TestRelay(t *testing.T) {
	for _, how := range []string{"", "setsid "} {
		t.Setenv("RELAY", how+`sh -c "$RELAY" & exit 0`)
		g := start(t, `trap "" TERM; eval "$RELAY"`)
		<-g.Done()
		looks := 0
		for until := time.Now().Add(time.Second); time.Now().Before(until); looks++ {
			if gone := isGone(g); gone || (tree{root: g.id.pid()}).dead() {
				t.Fatalf("%q: gone (%v) or dead after %d looks while every member forks another", how, gone, looks)
			}
		}
		end(t, g)
	}
}
