package group

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// initName is what a process finds as its own name that Start put into a PID namespace
// of its own, as its first process.
const initName = "understudy-init"

// Init returns at once, unless this process is the first one of a namespace that Start
// made: then it runs the program there, and never returns. A program whose Specs
// isolate calls it first in main.
func Init() {
	if os.Args[0] == initName {
		os.Exit(supervise(os.Args[1:], false))
	}
}

// Supervise runs this program once more, as its child, passes signals on to it, reaps
// what is left to it, and returns the child's exit code when no child is left. It is for
// the first process of a container, with which all others die.
func Supervise() int {
	return supervise(append([]string{"/proc/self/exe"}, os.Args...), true)
}

// supervise runs a program, given by its path and its arguments, as Supervise does.
// toTheLast: it waits for whatever the program leaves behind.
func supervise(program []string, toTheLast bool) int {
	if len(program) == 0 { // CanIsolate asks
		return 0
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	p, err := syscall.ForkExec(program[0], program[1:], &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: toTheLast}, // or a terminal's signal would come twice
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "understudy: start %s: %v\n", program[0], err)
		return 127
	}
	go func() {
		for s := range signals {
			switch s {
			case syscall.SIGCHLD, syscall.SIGURG: // the kernel's and the runtime's
			case syscall.SIGTERM, syscall.SIGINT:
				if toTheLast { // else the whole group gets it
					_ = syscall.Kill(p, s.(syscall.Signal))
				}
			default:
				_ = syscall.Kill(p, s.(syscall.Signal))
			}
		}
	}()
	code := unknownCode
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return code
		case pid == p:
			if code = codeOf(status); !toTheLast {
				return code
			}
		}
	}
}

// isolated is the Spec that runs s as the second process of a namespace, under a first
// one that passes on what Group.Signal sends.
func isolated(s Spec) Spec {
	s.Path, s.Argv = "/proc/self/exe", append([]string{initName, s.Path}, s.Argv...)
	return s
}

// CanIsolate says why the kernel does not let this process isolate, or nil.
func CanIsolate() error {
	p, err := os.StartProcess("/proc/self/exe", []string{initName}, &os.ProcAttr{
		Files: []*os.File{nil, nil, os.Stderr}, Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID},
	})
	if err != nil {
		return fmt.Errorf("no PID namespace can be made: %w", err)
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("the first process of a PID namespace fails: %v", state)
	}
	return err
}
