package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestDemo runs it whole: it fits a terminal of 80 columns. And it leaves nothing behind, be
// it at its end or because its reader goes away.
func TestDemo(t *testing.T) {
	for _, lines := range []int{1000, 3, 1} {
		if lines > 3 && testing.Short() {
			continue
		}
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "demo")
		cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=lab", "TMPDIR="+dir)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		text := bufio.NewScanner(out)
		for n := 0; n < lines && text.Scan(); n++ {
			if utf8.RuneCountInString(text.Text()) > 80 {
				t.Errorf("too wide: %s", text.Text())
			}
		}
		if lines < 1000 {
			_ = out.Close()
		} else {
			_, _ = io.Copy(io.Discard, out)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); (code == 0) != (lines == 1000) || code > cli.NotDone {
			t.Errorf("after %d lines: exit code %d\n%s", lines, code, errs.String())
		}
		for deadline := time.Now().Add(20 * time.Second); len(left(t, dir)) > 0; time.Sleep(10 * time.Millisecond) { // witnesses tell nobody when they end
			if time.Now().After(deadline) {
				t.Fatalf("after %d lines: still there: %q", lines, left(t, dir))
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("after %d lines: left behind: %v, %v", lines, left, err)
		}
	}
}

// left are the processes whose directory for temporary files this is.
func left(t *testing.T, dir string) (left []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && bytes.Contains(text, []byte("TMPDIR="+dir+"\x00")) {
			args, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			left = append(left, filepath.Base(filepath.Dir(name))+": "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return left
}
