package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/lock"
)

// TestCodeOf: what the machine lacks is not the user's mistake, so it has a code after which a supervisor starts again.
func TestCodeOf(t *testing.T) {
	t.Parallel()
	write := func(err error) error {
		return fmt.Errorf("raft: data directory d: %w", &os.PathError{Op: "write", Path: "d/node.json.tmp", Err: err})
	}
	listen := func(err error) error {
		return lock.InFields(&net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", err)}, "Bind")
	}
	for _, test := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{errors.New("unknown flag: --x"), Usage},
		{write(syscall.ENOENT), Usage},
		{write(syscall.EACCES), Usage},
		{listen(syscall.EACCES), Usage},
		{lock.Permanent(errors.New("the password is wrong")), Usage},
		{write(syscall.ENOSPC), Lacking},
		{write(syscall.EDQUOT), Lacking},
		{write(syscall.EROFS), Lacking},
		{write(syscall.EIO), Lacking},
		{write(syscall.EMFILE), Lacking},
		{write(syscall.ENFILE), Lacking},
		{fmt.Errorf("witness: start: %w", syscall.EAGAIN), Lacking},
		{fmt.Errorf("witness: start: %w", syscall.ENOMEM), Lacking},
		{fmt.Errorf("d is in use by process 7: %w", syscall.EWOULDBLOCK), Lacking},
		{listen(syscall.EADDRINUSE), Lacking},
		{listen(syscall.EADDRNOTAVAIL), Lacking},
		{Unreachable(write(syscall.EMFILE)), Unavailable},
		{Refused(write(syscall.ENOSPC)), NotDone}, // it had begun
		{Refused(listen(syscall.EADDRINUSE)), Lacking},
		{Mistake(write(syscall.ENOSPC)), Usage},
		{context.DeadlineExceeded, Unavailable},
		{&lock.HeldError{Name: "a"}, Held},
	} {
		if code, _ := codeOf(test.err); code != test.code {
			t.Errorf("%v: exit code %d, want %d", test.err, code, test.code)
		}
	}
}
