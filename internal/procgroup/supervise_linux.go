package procgroup

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// Supervise runs this program once more, as its child, passes signals on to it, reaps
// what is left to it, and returns the child's exit code when no child is left: 0 where that
// died of a signal to stop which it was passed, for then it had not begun. It is for the
// first process of a container, with which all others die. Signals that have come already
// stand in signals, to which all others are sent.
func Supervise(signals chan os.Signal) int {
	signal.Notify(signals)
	p, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, os.Stderr.Fd()},
		Sys: &syscall.SysProcAttr{Setpgid: true}, // or a terminal's signal would come twice
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "understudy: start /proc/self/exe: %v\n", err)
		return 127
	}
	var stopped atomic.Int32 // the signal to stop that was passed on last
	go func() {
		for s := range signals {
			if s != syscall.SIGCHLD && s != syscall.SIGURG { // the kernel's and the runtime's
				if s == syscall.SIGTERM || s == syscall.SIGINT {
					stopped.Store(int32(s.(syscall.Signal)))
				}
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
		case pid == p && status.Signaled() && stopped.Load() == int32(status.Signal()):
			code = 0
		case pid == p:
			code = codeOf(status)
		}
	}
}
