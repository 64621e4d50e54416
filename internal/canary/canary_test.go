package canary

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestDirectoryIsRemoved while the canary lives: a write fails, and names the directory, until it is there again. A file that
// alone was removed is made again.
func TestDirectoryIsRemoved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "work")
	make := func() {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	make()
	c := Start(dir, "a", time.Millisecond)
	defer c.Stop(time.Minute)
	until := func(what string, ok func(err error) bool) {
		t.Helper()
		lab.Eventually(t, what, func() bool { return ok(<-c.Wrote()) })
	}
	well := func(err error) bool { return err == nil }
	until("it writes", well)
	if err := os.Remove(c.path); err != nil {
		t.Fatal(err)
	}
	until("the file is there again", func(err error) bool {
		_, gone := os.Stat(c.path)
		return err == nil && gone == nil
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	until("it says that the directory is gone", func(err error) bool {
		return err != nil && strings.Contains(err.Error(), `"`+dir+`" is not there; create the directory`)
	})
	make()
	until("it writes again", well)
	if found, err := filepath.Glob(dir + "/*"); err != nil || len(found) != 1 {
		t.Errorf("%q, %v", found, err)
	}
}
