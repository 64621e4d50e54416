//go:build !linux

package failover

import "syscall"

// attributes are none: nothing is measured here.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
