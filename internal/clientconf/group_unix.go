//go:build unix

package clientconf

import (
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// ourGroup reports whether a file's group is one of this process's.
func ourGroup(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	groups, _ := os.Getgroups() // who cannot tell has none besides
	return ok && slices.Contains(append(groups, os.Getegid()), int(s.Gid))
}
