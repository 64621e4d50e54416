package witness

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/lock"
)

// order is what the witness gets to know.
func (w *Witness) order(c coordinator.Config) ([]byte, error) {
	store, err := json.Marshal(w.store)
	if err != nil {
		return nil, fmt.Errorf("how to reach the store: %w", err)
	}
	o := orders{
		Store: store, ID: c.ID, Promise: lock.Promise{TTL: c.TTL, Skew: c.Skew}, HangTimeout: c.HangTimeout, Spare: c.NoExit,
	}
	for _, b := range c.Roles {
		o.Roles = append(o.Roles, b.Role)
	}
	_, o.JSON = asynclog.Under(c.Logger.Handler()).(*slog.JSONHandler)
	o.Level = min(max(asynclog.Level(c.Logger), slog.LevelDebug), slog.LevelError)
	return json.Marshal(o)
}

// prepare makes what this process and its witness share.
func (w *Witness) prepare(orders []byte) error {
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // an old kernel, or a sandbox
		return fmt.Errorf("%w: pidfd_open: %w", errors.ErrUnsupported, err)
	case err != nil: // not for want of it
		return fmt.Errorf("pidfd_open: %w", err)
	}
	w.self = os.NewFile(uintptr(pidfd), "pidfd")
	if w.memory, err = memory(make([]byte, pageSize)); err != nil {
		return err
	}
	if w.orders, err = memory(orders); err != nil {
		return err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	w.wake = os.NewFile(uintptr(wake), "eventfd")
	w.page, err = share(int(w.memory.Fd()))
	return os.NewSyscallError("mmap", err)
}

// title says for whom a witness stands by.
func title(c coordinator.Config) string {
	text := "id=" + c.ID
	for i, b := range c.Roles {
		if i == few {
			return fmt.Sprintf("%s and %d more", text, len(c.Roles)-few)
		}
		text += " role=" + b.Role
	}
	return text
}

// few is how many roles a title has.
const few = 4

// memory is a file in memory that holds data.
func memory(data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	_, err = f.WriteAt(data, 0)
	return f, err
}
