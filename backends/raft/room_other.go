//go:build !linux && !darwin && !freebsd

package raft

import "errors"

// room is how many bytes are left on the disk of a directory.
func room(string) (uint64, error) { return 0, errors.ErrUnsupported }
