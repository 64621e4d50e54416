//go:build unix && !linux

package group

import (
	"errors"
	"syscall"
	"time"
)

func attributes(Spec) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// pass is late: the program runs already.
func pass(pid int, gate func(int) error) error {
	err := gate(pid)
	if err != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	return err
}

func becomeReaper() error { return nil }

// Init has nothing to do: only Linux isolates.
func Init() {}

// Supervise is for the first process of a Linux container.
func Supervise() int { return unknownCode }

// CanIsolate says that only Linux can.
func CanIsolate() error { return errors.ErrUnsupported }

func isolated(s Spec) Spec { return s }

// awaitEnd returns now and then: what waits without reaping is not to be had in
// the same way everywhere.
func awaitEnd(int) { time.Sleep(20 * time.Millisecond) }

// collect has nothing to do: orphans go to the first process.
func collect(int) {}

func onlyZombies(int) bool { return false }

func sweep(stop <-chan struct{}) { <-stop }
