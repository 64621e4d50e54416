//go:build unix

package raft

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// lockDirectory takes the lock of a directory. The kernel frees it when the
// process is gone, however it went.
func lockDirectory(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, lock.InFields(fmt.Errorf("%q cannot be written: %w", path, err), "Dir")
	}
	if err := take(f, path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// take tries for a second: a child that was just forked holds its parent's lock until it runs its own
// program.
func take(f *os.File, path string) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for end := time.Now().Add(time.Second); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		pid, _ := io.ReadAll(io.LimitReader(f, 32)) // for people only
		err = fmt.Errorf("data directory %s is in use by process %s: stop it, or give another directory (%w)", path, strings.TrimSpace(string(pid)), err)
	}
	return err
}

// inUse is an error where a process has the directory. It writes nothing.
func inUse(path string) error {
	f, err := os.Open(filepath.Join(path, "lock"))
	if err != nil {
		return nil // there is none, or opening the directory says why not
	}
	defer f.Close()
	return take(f, path)
}
