package failover

import "syscall"

// attributes let no contender outlive this process, and keep an interrupt from the
// terminal ours to act on.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
