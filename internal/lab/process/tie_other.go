//go:build unix && !linux

package process

import "syscall"

// tie leaves one thing out: here a child outlives a parent that is killed.
func tie(a *syscall.SysProcAttr) { a.Setpgid = true }
