//go:build linux

package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
)

// fullPipe is a pipe that is filled to the brim and that nobody reads.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(ends[0]) })
	_ = unix.SetNonblock(ends[1], true)
	for size := 1 << 16; size > 0; {
		if _, err := unix.Write(ends[1], make([]byte, size)); err != nil {
			size /= 2
		}
	}
	_ = unix.SetNonblock(ends[1], false) // whoever writes to it blocks
	full := os.NewFile(uintptr(ends[1]), "full")
	t.Cleanup(func() { _ = full.Close() })
	return full
}

// stoppedTerminal is a terminal with its output stopped, as by ctrl-S: a write to it blocks.
func stoppedTerminal(t *testing.T) *os.File {
	t.Helper()
	end, name := lab.Terminal(t)
	t.Cleanup(func() { _ = end.Close() })
	terminal, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	lab.Must(t, err)
	t.Cleanup(func() { _ = terminal.Close() })
	const stopOutput = 0 // TCOOFF of termios.h
	lab.Must(t, unix.IoctlSetInt(int(terminal.Fd()), unix.TCXONC, stopOutput))
	return terminal
}

// TestStalledError ends with its code, though nobody reads why.
func TestStalledError(t *testing.T) {
	cmd := exec.Command(os.Args[0], "run", "--backend", "nonsense")
	cmd.Env, cmd.Stderr = append(os.Environ(), "UNDERSTUDY_TEST=wrapper", "UNDERSTUDY_NONSENSE=a warning"), fullPipe(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != cli.Usage {
		t.Errorf("exit code %d, want %d", code, cli.Usage)
	}
}
