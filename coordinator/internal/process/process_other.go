//go:build !linux

package process

import "github.com/understudy-ha/understudy/lock"

// This describes nothing: without a pidfd no death can be proved, and a restart waits out
// the promise.
func This() lock.Process { return lock.Process{} }

// Dead reports false: see This.
func Dead(lock.Process) bool { return false }
