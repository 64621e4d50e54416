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
}

// A Group is one run of a command, with all that it started and that has not left
// the process group.
type Group struct {
	pid  int // of the direct child, and of the group
	done chan struct{}
	code int

	mu    sync.Mutex
	empty bool // seen empty: the number may be another's by now
}

// Start runs the command. It also becomes the reaper of whatever the command
// leaves behind: a process that uses this package waits for its children by this
// package only.
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
	g := &Group{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is bound to the thread that forked: it must live
		// as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		pid, err := syscall.ForkExec(s.Path, s.Argv, &syscall.ProcAttr{
			Env: s.Env, Files: []uintptr{stdin.Fd(), s.Stdout.Fd(), s.Stderr.Fd()}, Sys: attributes(),
		})
		g.pid = pid
		started <- err
		if err == nil {
			g.reap()
		}
	}()
	if err := <-started; err != nil {
		return nil, &os.PathError{Op: "start", Path: s.Path, Err: err}
	}
	go g.sweep()
	return g, nil
}

// sweep reaps orphans now and then while the direct child runs.
func (g *Group) sweep() {
	for {
		select {
		case <-time.After(5 * time.Second):
			sweep(g.pid)
		case <-g.done:
			return
		}
	}
}

// reap waits for the direct child.
func (g *Group) reap() {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(g.pid, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		break
	}
	g.code = status.ExitStatus()
	if status.Signaled() {
		g.code = 128 + int(status.Signal())
	}
	close(g.done)
}

// Done is closed when the direct child has ended and was reaped.
func (g *Group) Done() <-chan struct{} { return g.done }

// Code is the direct child's exit code, or 128 and its signal. It is known when
// Done is closed.
func (g *Group) Code() int { return g.code }

// Signal sends a signal to the direct child alone, if it has not ended.
func (g *Group) Signal(sig syscall.Signal) {
	select {
	case <-g.done:
	default:
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
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.empty {
		select {
		case <-g.done:
			g.empty = groupEmpty(g.pid)
		default:
		}
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
