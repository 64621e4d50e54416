package servers

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// awaitDeath waits until no process of that number lives: a pidfd polls readable
// at the end of its process.
func awaitDeath(ctx context.Context, t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	deadline, _ := ctx.Deadline()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
	must(t, err)
	if n == 0 {
		t.Errorf("process %d outlived its parent", pid)
	}
}
