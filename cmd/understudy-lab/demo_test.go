package main

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestDemo runs it whole: it fits a terminal of 80 columns. And it leaves nothing behind, be
// it at its end or because its reader goes away.
func TestDemo(t *testing.T) {
	for _, lines := range []int{1000, 3, 1} {
		if lines > 3 && testing.Short() {
			continue
		}
		cmd := exec.Command(os.Args[0], "demo")
		cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=lab")
		if _, code := lab.Shows(t, cmd, lines); (code == 0) != (lines == 1000) || code > cli.NotDone {
			t.Errorf("after %d lines: exit code %d", lines, code)
		}
	}
}

// TestDemoOnABusyMachine: a process that ends though nothing was done to it, as when its witness
// takes it for hung, is the end of the demo, which says so.
func TestDemoOnABusyMachine(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "demo")
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=lab", "TMPDIR="+dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	text := bufio.NewScanner(lab.Output(t, cmd))
	for text.Scan() && !strings.Contains(text.Text(), "ACTIVE") {
	}
	for _, one := range lab.Left(t, "TMPDIR", dir) {
		pid, command, _ := strings.Cut(one, ": ")
		if n, err := strconv.Atoi(pid); err == nil && strings.Contains(command, " demo-contender ") {
			lab.Must(t, syscall.Kill(n, syscall.SIGKILL))
			break
		}
	}
	for text.Scan() {
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code == 0 || !strings.Contains(errs.String(), "ended, and nothing was done to it") {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
}
