package smallfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/smallfile"
)

// TestRead: what is too large for memory is refused by name, however large it says that it is.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if _, err := smallfile.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, size := range []int{0, smallfile.Most, smallfile.Most + 1} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := smallfile.Read(path)
		if size <= smallfile.Most && (err != nil || len(text) != size) {
			t.Errorf("%d bytes: %d, %v", size, len(text), err)
		}
		if size > smallfile.Most && (err == nil || !strings.Contains(err.Error(), path+": it has more than 1048576 bytes")) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := smallfile.Read("/dev/zero"); err == nil && filepath.Separator == '/' {
		t.Error("/dev/zero was read")
	}
}
