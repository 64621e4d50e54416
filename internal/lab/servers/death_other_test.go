//go:build !linux

package servers

import (
	"context"
	"syscall"
	"testing"
)

// awaitDeath ends the process, which nothing here ends with its parent.
func awaitDeath(_ context.Context, t *testing.T, pid int) {
	t.Helper()
	must(t, syscall.Kill(pid, syscall.SIGKILL))
}
