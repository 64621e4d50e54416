//go:build !linux

package process

import (
	"errors"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// This describes nothing: without a pidfd no death can be proved, and a restart waits out
// the promise.
func This() lock.Process { return lock.Process{} }

// Dead reports false: see This.
func Dead(lock.Process) bool { return false }

// A Lockfile is for Linux alone.
type Lockfile struct{}

// Check says that there can be none.
func Check(string) error { return errors.New("is for Linux alone; leave it out") }

// Take fails: see Check.
func Take(path, _ string, _ time.Duration) (*Lockfile, error) { return nil, Check(path) }

// Dead reports false: see This.
func (*Lockfile) Dead(lock.SessionID) bool { return false }

// Close does nothing.
func (*Lockfile) Close() {}
