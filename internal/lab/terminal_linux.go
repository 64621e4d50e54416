package lab

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Terminal makes a terminal, and returns its other end and its name.
func Terminal(t testing.TB) (end *os.File, name string) {
	t.Helper()
	end, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	Must(t, err)
	Must(t, unix.IoctlSetPointerInt(int(end.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(end.Fd()), unix.TIOCGPTN)
	Must(t, err)
	return end, fmt.Sprintf("/dev/pts/%d", n)
}
