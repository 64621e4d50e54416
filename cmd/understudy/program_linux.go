package main

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// maySetUser reports whether a program has the capability to become any user, by its file.
func maySetUser(path string) bool {
	var caps [64]byte // its revision, then what is permitted, the first 32 first; see capabilities(7)
	n, err := unix.Getxattr(path, "security.capability", caps[:])
	return err == nil && n >= 8 && binary.LittleEndian.Uint32(caps[4:])&(1<<unix.CAP_SETUID) != 0
}
