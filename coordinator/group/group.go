//go:build unix

// Package group runs a command in a process group of its own, and knows when
// nothing of it is left.
//
// On Linux the direct child dies with this process (parent-death signal), what
// it leaves behind becomes this process's child and is reaped, and a group counts
// as empty when it has no thread that is not a zombie. Elsewhere none of the
// three can be had: a group counts as empty when no signal reaches it.
package group

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A Spec says what to run.
type Spec struct {
	Path   string   // of the program
	Argv   []string // with the program's name first
	Env    []string
	Stdin  *os.File // nil: /dev/null
	Stdout *os.File
	Stderr *os.File

	// Isolate puts the program and all that it starts into a PID namespace that dies with
	// its first process, and that with this one: also what leaves the group. It takes
	// Linux, the right to make a namespace, and Init; CanIsolate asks.
	Isolate bool

	// Gate, where there is one, is called with the group's number when the group exists
	// and nothing of the program has run. The program runs when Gate returns nil, and
	// never otherwise. On Linux this takes ptrace(2), which a set-user-ID program does not
	// survive as such; elsewhere the program may run before.
	Gate func(pgid int) error
}

// A Group is one run of a command, with all that it started and that has not left
// the process group.
type Group struct {
	pid  int // of the direct child, and of the group
	done chan struct{}
	code int

	mu    sync.Mutex
	ended bool // the direct child was reaped: its number may be another's by now
	empty bool // seen empty: the group's number may be another's by now
}

// Start runs the command. It also becomes the reaper of whatever the command
// leaves behind: a process that uses this package waits for every other child of its
// own from the moment that it starts it. Several Groups may run at once.
func Start(s Spec) (*Group, error) {
	if err := becomeReaper(); err != nil {
		return nil, err
	}
	stdin := s.Stdin
	if stdin == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		stdin = null
	}
	if s.Isolate {
		s = isolated(s)
	}
	g := &Group{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is bound to the thread that forked: it must live
		// as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		pid, err := syscall.ForkExec(s.Path, s.Argv, &syscall.ProcAttr{
			Env: s.Env, Files: []uintptr{stdin.Fd(), s.Stdout.Fd(), s.Stderr.Fd()}, Sys: attributes(s),
		})
		g.pid = pid
		if pid > 0 {
			direct.Store(pid, true)
		}
		if err == nil && s.Gate != nil {
			err = pass(pid, s.Gate)
		}
		started <- err
		if pid > 0 {
			g.reap()
		}
	}()
	if err := <-started; err != nil {
		return nil, &os.PathError{Op: "start", Path: s.Path, Err: err}
	}
	return g, nil
}

// direct are the children that a Group of this process waits for: no sweeper's.
var direct sync.Map

// reap waits for the direct child, and sweeps meanwhile.
func (g *Group) reap() {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		sweep(stop)
	}()
	for !g.reaped() {
		awaitEnd(g.pid)
	}
	direct.Delete(g.pid)
	close(stop)
	<-stopped
	close(g.done)
}

// reaped collects the direct child's status if it has ended.
func (g *Group) reaped() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(g.pid, &status, syscall.WNOHANG, nil)
	switch {
	case errors.Is(err, syscall.EINTR) || err == nil && pid == 0:
		return false
	case err != nil:
		g.code = unknownCode
	default:
		g.code = codeOf(status)
	}
	g.ended = true
	return true
}

// codeOf is a shell's exit code for how a process ended.
func codeOf(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// unknownCode stands where somebody else reaped the direct child.
const unknownCode = 255

// Done is closed when the direct child has ended and was reaped.
func (g *Group) Done() <-chan struct{} { return g.done }

// Code is the direct child's exit code, or 128 and its signal. It is known when
// Done is closed.
func (g *Group) Code() int { return g.code }

// Signal sends a signal to the direct child alone, if it has not ended.
func (g *Group) Signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		_ = syscall.Kill(g.pid, sig)
	}
}

// Terminate asks all of the group to end.
func (g *Group) Terminate() { g.signalAll(syscall.SIGTERM) }

// Kill ends all of the group. It does not wait.
func (g *Group) Kill() { g.signalAll(syscall.SIGKILL) }

func (g *Group) signalAll(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.empty {
		_ = syscall.Kill(-g.pid, sig)
	}
}

// Empty reports whether nothing of the group is left but zombies.
func (g *Group) Empty() bool {
	select {
	case <-g.done:
	default:
		return false
	}
	if g.gone() {
		return true
	}
	if !onlyZombies(g.pid) { // without the mutex: a kill must not wait for a long look
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.empty = true
	return true
}

// gone reports whether not even a zombie is left.
func (g *Group) gone() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.empty {
		collect(g.pid)
		g.empty = errors.Is(syscall.Kill(-g.pid, 0), syscall.ESRCH)
	}
	return g.empty
}

// WaitEmpty waits until nothing of the group is left, or for ctx.
func (g *Group) WaitEmpty(ctx context.Context) error {
	select {
	case <-g.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	for wait := time.Millisecond; !g.Empty(); wait = min(2*wait, 20*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Attributes are those of a child in a group of its own that dies with this process.
// Whoever starts one waits for it at once: see Start.
func Attributes() *syscall.SysProcAttr { return attributes(Spec{}) }

// Kill ends all of a group whose reaper is gone. It does not wait.
func Kill(pgid int) { _ = syscall.Kill(-pgid, syscall.SIGKILL) }

// End kills a group whose reaper is gone, and what it forks meanwhile, and returns when
// nothing of it is left but zombies. The caller vouches that it is that group still:
// its number is nobody else's while any of it is left. Whoever inherited the dead may
// reap them at once, so the zombies are looked for a little later: that takes a look at
// every process of the machine.
func End(pgid int) {
	for wait := 50 * time.Microsecond; ; wait = min(3*wait/2, 20*time.Millisecond) {
		err := syscall.Kill(-pgid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) || wait > 200*time.Microsecond && onlyZombies(pgid) {
			return
		}
		time.Sleep(wait)
	}
}
