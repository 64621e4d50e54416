package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// A wire is our end of the socket to a warm command.
type wire struct{ file *os.File }

// newWire returns both ends of a socket. The command's blocks, as programs expect; ours does not.
func newWire() (ours *wire, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(pair[1]), "socket")
	if err := unix.SetNonblock(pair[0], true); err != nil {
		_ = unix.Close(pair[0])
		_ = theirs.Close() // nothing was written to either
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return &wire{os.NewFile(uintptr(pair[0]), "socket")}, theirs, nil
}

// say sends a line. It never waits: a command that has not read the lines before is told nothing, which
// is an error.
func (w *wire) say(line string) error {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	text := []byte(line + "\n")
	if closed := raw.Control(func(fd uintptr) {
		var n int
		if n, err = unix.SendmsgN(int(fd), text, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err == nil && n < len(text) {
			err = unix.EAGAIN
		}
	}); closed != nil {
		return closed
	}
	return os.NewSyscallError("send", err)
}

func (w *wire) Read(b []byte) (int, error) { return w.file.Read(b) }

func (w *wire) close() { _ = w.file.Close() } // the command is gone
