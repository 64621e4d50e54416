package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestCopy: what is at the path afterwards is this program, and may be run by everybody.
func TestCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "understudy")
	for range 2 { // an init container may be run again
		if code, text := said(t, "copy", path); code != 0 {
			t.Fatalf("exit code %d\n%s", code, text)
		}
	}
	own, err := os.Executable()
	must(t, err)
	want, err := os.ReadFile(own)
	must(t, err)
	got, err := os.ReadFile(path)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if left, _ := os.ReadDir(filepath.Dir(path)); !bytes.Equal(got, want) || info.Mode() != 0o755 || len(left) != 1 {
		t.Errorf("%d bytes of mode %v, want %d; %d files", len(got), info.Mode(), len(want), len(left))
	}
	for _, args := range [][]string{{"copy"}, {"copy", ""}, {"copy", "a", "b"}, {"copy", filepath.Join(path, "none")}} {
		if code, text := said(t, args...); code != cli.Usage {
			t.Errorf("%q: exit code %d, want %d\n%s", args, code, cli.Usage, text)
		}
	}
}
