package raft

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDirectoryThatCannotBeWritten is told with the setting that names it. A directory stands for what nobody may write, as
// root is refused nothing.
func TestDirectoryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "lock"), 0o700))
	_, err := openDirectory(dir, "a", Config{}.logger())
	if want := fmt.Sprintf("Dir: %q cannot be written: open ", dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
