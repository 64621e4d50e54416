package main

import "syscall"

// demoAttributes lets no process of the demo outlive it.
func demoAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
