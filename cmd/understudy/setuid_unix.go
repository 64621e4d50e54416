//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// setUserID reports whether a program runs as another user than this process, who may not
// stop that user's processes, and as whom.
func setUserID(path string) (owner uint32, ok bool) {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&fs.ModeSetuid == 0 || os.Geteuid() == 0 {
		return 0, false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(s.Uid) == os.Geteuid() {
		return 0, false
	}
	return s.Uid, true
}
