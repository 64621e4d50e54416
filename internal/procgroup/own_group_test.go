//go:build linux

package procgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestProgramHasItsOwnGroup, so that what is meant for the program reaches all that it runs
// beside it, and not its init.
func TestProgramHasItsOwnGroup(t *testing.T) {
	_, said := reading(t, shell("read pid name state parent group rest < /proc/$$/stat; echo $$; echo $group; read forever < /dev/zero"), 2)
	if said[0] != said[1] {
		t.Errorf("process %d is in group %d", said[0], said[1])
	}
}

// superviseOnce is a first process of a container, and then its child, which says in which
// process group it is.
func superviseOnce() {
	const again = "PROCGROUP_TEST_SUPERVISED"
	if os.Getenv(again) == "" {
		_ = os.Setenv(again, "1")
		os.Exit(Supervise(make(chan os.Signal, 1)))
	}
	fmt.Fprintln(os.Stderr, os.Getpid() == syscall.Getpgrp())
	os.Exit(7)
}

// TestSupervisedGroup runs its program in a group of its own, or a signal of the terminal would come
// twice, and has its exit code.
func TestSupervisedGroup(t *testing.T) {
	var said strings.Builder
	c := exec.Command("/proc/self/exe", "owngroup")
	c.Stderr = &said
	err := c.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || said.String() != "true\n" {
		t.Errorf("%v, and the child is in a group of its own: %q", err, said.String())
	}
}
