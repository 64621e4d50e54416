package servers

import "syscall"

// attributes give the child its death with the thread that forked it, and so with
// this process; and a group of its own, so that an interrupt from the terminal
// is ours to act on.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
