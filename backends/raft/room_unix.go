//go:build linux || darwin || freebsd

package raft

import "golang.org/x/sys/unix"

// room is how many bytes are left on the disk of a directory.
func room(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
