//go:build linux || darwin || freebsd

package raft

import "syscall"

// free is how many bytes the disk of a directory has free; 0: that is not known.
func free(dir string) int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize) // their types differ by system
}
