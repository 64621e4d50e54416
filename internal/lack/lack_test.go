package lack

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// TestFound: what a library keeps only as text is known again, and nothing else is taken for it.
func TestFound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err error
		is  error // nil: nothing is lacking
	}{
		{nil, nil},
		{errors.New("the role is too long"), nil},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, nil},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, nil},
		{fmt.Errorf("write: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}), syscall.ENOSPC},
		{errors.New("file resize error: " + syscall.ENOSPC.Error()), syscall.ENOSPC},
		{errors.New("permissions test failed: open x: " + syscall.EMFILE.Error()), syscall.EMFILE},
	} {
		got := Found(test.err)
		if Is(got) != (test.is != nil) || test.is != nil && !errors.Is(got, test.is) {
			t.Errorf("%v: got %v, want %v", test.err, got, test.is)
		}
		if test.err != nil && (got.Error() != test.err.Error() || !errors.Is(got, test.err)) {
			t.Errorf("%v became %v", test.err, got)
		}
	}
}
