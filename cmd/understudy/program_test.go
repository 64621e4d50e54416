package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefusedCommand: a command below a directory that this user may not search is not called one without an executable
// bit, which nobody can see there. The refusal is made up, as root is refused nothing.
func TestRefusedCommand(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(t.TempDir(), "closed")
	plain, program := filepath.Join(closed, "plain"), filepath.Join(closed, "program")
	must(t, os.Mkdir(closed, 0o755))
	must(t, os.WriteFile(plain, nil, 0o644))
	must(t, os.WriteFile(program, nil, 0o700)) // of somebody else
	unseen := func(path string) (fs.FileInfo, error) {
		if strings.HasPrefix(path, closed+"/") {
			return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrPermission}
		}
		return os.Stat(path)
	}
	for _, c := range []struct {
		path, want string
		stat       func(string) (fs.FileInfo, error)
	}{
		{plain, "is not executable; make it executable: chmod +x " + plain, os.Stat},
		{program, "this user may not execute it; look at its owner and its mode", os.Stat},
		{plain, "this user may not search the directory " + closed + ",", unseen},
		{program, "chmod o+x " + closed + ",", unseen},
		{filepath.Join(closed, "missing", "command"), "this user may not search the directory " + closed + ",", unseen},
	} {
		if got := refused(c.path, c.stat).Error(); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
	}
}
