package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// traceWithoutWaiting keeps a trace from keeping this process alive. Go's runtime writes one to
// descriptor 2 when something panics or SIGQUIT comes, and if nobody reads the pipe it would wait
// for ever, with every goroutine stopped. So descriptor 2 becomes a separate way into the same
// pipe or terminal, on which writing does not wait: what finds no room is lost. Everything else,
// including processes that are started, has the previous descriptor, as os.Stderr.
func traceWithoutWaiting() {
	var st unix.Stat_t
	if unix.Fstat(2, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO && st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return
	}
	own, err := unix.Open("/proc/self/fd/2", unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // another user's, or a sandbox: it waits, as it would without this
	}
	defer unix.Close(own)
	before, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return
	}
	if unix.Dup3(own, 2, 0) != nil {
		_ = unix.Close(before)
		return
	}
	os.Stderr = os.NewFile(uintptr(before), "/dev/stderr")
}
