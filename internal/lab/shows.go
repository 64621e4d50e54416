//go:build unix

package lab

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

// Shows runs a command that shows something to people, and returns the lines and the exit code. After so many
// lines its reader goes away. No line is wider than a terminal of 80 columns, and nothing is left behind, neither
// processes nor files.
func Shows(t testing.TB, cmd *exec.Cmd, most int) (lines []string, code int) {
	t.Helper()
	dir := t.TempDir()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	out := Output(t, cmd)
	for text := bufio.NewScanner(out); len(lines) < most && text.Scan(); {
		if lines = append(lines, text.Text()); utf8.RuneCountInString(text.Text()) > 80 {
			t.Errorf("too wide: %s", text.Text())
		}
	}
	if len(lines) == most {
		_ = out.Close()
	} else {
		_, _ = io.Copy(io.Discard, out) // what a scanner does not take
	}
	_ = cmd.Wait() // the exit code says it
	if errs.Len() > 0 {
		t.Log(errs.String())
	}
	if len(lines) == most && errs.Len() > 0 {
		t.Errorf("its reader has gone away after %d lines, and it says: %s", most, errs.String())
	}
	Eventually(t, "the end of every process", func() bool { return len(Left(t, "TMPDIR", dir)) == 0 }) // witnesses tell nobody when they end
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("after %d lines: left behind: %v, %v", len(lines), left, err)
	}
	return lines, cmd.ProcessState.ExitCode()
}
