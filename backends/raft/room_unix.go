//go:build linux || darwin || freebsd

package raft

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errNoSize means that a file system does not say how large it is, as ramfs does not.
var errNoSize = errors.New("the file system has no size")

// room is how many bytes are left on the disk of a directory. File systems keep some of them for root.
func room(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return roomOf(st, os.Geteuid() == 0)
}

func roomOf(st unix.Statfs_t, root bool) (uint64, error) {
	left := uint64(st.Bavail)
	switch {
	case st.Blocks == 0:
		return 0, errNoSize
	case root:
		left = st.Bfree
	}
	return left * uint64(st.Bsize), nil
}
