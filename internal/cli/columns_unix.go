//go:build unix

package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Columns are those of the terminal to which a command's answer goes; 0: it goes elsewhere, or that is not known.
func Columns(out io.Writer) int {
	if !Terminal(out) {
		return 0
	}
	if a, ok := out.(*answer); ok {
		out = a.to
	}
	size, err := unix.IoctlGetWinsize(int(out.(*os.File).Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
