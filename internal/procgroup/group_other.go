//go:build unix && !linux

package procgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// means are a process group.
type means struct {
	pid int // of the first process, and of the group

	mu    sync.Mutex
	ended bool // the first process was reaped: its number may be another's by now
	empty bool // seen empty: the group's number may be another's by now
}

// start cannot be cut short here: the program begins to be read in this very call.
func (g *Group) start(_ context.Context, s Spec) error {
	path, err := exec.LookPath(s.Path)
	if err != nil {
		return err
	}
	g.pid, err = syscall.ForkExec(path, s.Argv, &syscall.ProcAttr{
		Env: s.Env, Files: []uintptr{s.Stdin.Fd(), s.Stdout.Fd(), s.Stderr.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return err
	}
	if s.Gate != nil {
		if err = s.Gate(ID(g.pid)); err != nil {
			g.kill()
		}
	}
	go g.reap()
	return err
}

// reap waits for the first process, asks the rest to end, and waits for that.
func (g *Group) reap() {
	for !g.reaped() {
		time.Sleep(20 * time.Millisecond)
	}
	close(g.done)
	g.terminate()
	for !g.isEmpty() {
		time.Sleep(20 * time.Millisecond)
	}
	close(g.gone)
}

// reaped collects the first process's status if it has ended.
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

func (g *Group) isEmpty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.empty = errors.Is(syscall.Kill(-g.pid, 0), syscall.ESRCH)
	return g.empty
}

func (g *Group) signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		_ = syscall.Kill(g.pid, sig)
	}
}

func (g *Group) terminate() { g.all(syscall.SIGTERM, syscall.SIGCONT) }
func (g *Group) kill()      { g.all(syscall.SIGKILL) }

func (g *Group) all(signals ...syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, sig := range signals {
		if !g.empty {
			_ = syscall.Kill(-g.pid, sig)
		}
	}
}

// Supervise is for the first process of a Linux container.
func Supervise(chan os.Signal) int { return unknownCode }

// CanLook has nothing to say: no descendants are looked for.
func CanLook() error { return nil }

// CanIsolate says that only Linux can.
func CanIsolate() error { return errors.ErrUnsupported }

// Spare has nothing to do: no orphan comes to this process.
func Spare(int) (forget func()) { return func() {} }
