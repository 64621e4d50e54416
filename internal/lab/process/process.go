//go:build unix

// Package process starts child processes whose lines are read, and leaves none behind.
package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is a child. It has a process group of its own, so that an interrupt from the
// terminal is ours to act on; and it dies with this process, where the system can do that
// (Linux). Its methods may be called concurrently.
type Process struct {
	cmd     *exec.Cmd
	gone    chan struct{} // closed when it has ended and was reaped
	err     error         // how it ended; read it after gone
	reading sync.WaitGroup
}

// Start starts cmd. Where take is not nil it gets every line that the process, or one that
// inherited its standard output, writes there, one after the other, on a goroutine.
func Start(cmd *exec.Cmd, take func(line string)) (*Process, error) {
	p := &Process{cmd: cmd, gone: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	tie(cmd.SysProcAttr)
	var out, in *os.File
	if take != nil {
		var err error
		if out, in, err = os.Pipe(); err != nil {
			return nil, err
		}
		cmd.Stdout = in
	}
	started := make(chan error)
	go func() {
		// A child that is to die with its parent dies with the thread that forked it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.gone)
		}
	}()
	err := <-started
	if take == nil {
		return p, err
	}
	_ = in.Close() // the child has its own
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	p.reading.Go(func() {
		defer func() { _ = out.Close() }()
		for lines := bufio.NewScanner(out); lines.Scan(); {
			take(lines.Text())
		}
	})
	return p, nil
}

// PID is its process ID, also when it has ended.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends it a signal. An error says that it has ended.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Gone is closed when it has ended.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Ended reports whether it has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// Wait waits until it has ended, and returns how: as [exec.Cmd.Wait] does.
func (p *Process) Wait() error {
	<-p.gone
	return p.err
}

// Code waits until it has ended, and returns its exit code; -1: a signal ended it.
func (p *Process) Code() int {
	<-p.gone
	return p.cmd.ProcessState.ExitCode()
}

// Drain waits until every line has been taken, and nobody is left who could write one.
func (p *Process) Drain() { p.reading.Wait() }

// End sends it a signal, after most SIGKILL too, and waits until it has ended.
func (p *Process) End(sig syscall.Signal, most time.Duration) {
	_ = p.Signal(sig) // it fails where it has ended: just what is wanted
	if sig != syscall.SIGKILL {
		select {
		case <-p.gone:
		case <-time.After(most):
			_ = p.Signal(syscall.SIGKILL)
		}
	}
	<-p.gone
}

// Pause stops it with SIGSTOP: its sockets stay open, and nothing answers. It returns when
// every thread of it stands, where the system tells (Linux).
func (p *Process) Pause() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for range 1000 { // a signal is seen when the thread has its turn
		if stands(p.PID()) {
			break
		}
		time.Sleep(time.Millisecond) // the system tells nobody
	}
	return nil
}

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// stands reports whether no thread of a process runs.
func stands(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // the pattern is a good one
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		_, state, _ := strings.Cut(string(stat), ") ")
		if err == nil && !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}
