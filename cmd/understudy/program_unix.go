//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// becomes says how a program may become another user than us, whose processes we may not be able
// to stop; "": it cannot.
func becomes(path string, us int) string {
	info, err := os.Stat(path)
	if err != nil || us == 0 {
		return ""
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && info.Mode()&fs.ModeSetuid != 0 && int(s.Uid) != us:
		return fmt.Sprintf("it is set-user-ID %d", s.Uid)
	case maySetUser(path):
		return "it has the file capability cap_setuid"
	}
	return ""
}
