package group

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes give the child a group of its own, and its death with ours.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// becomeReaper makes orphans below this process its own children.
func becomeReaper() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// groupEmpty reaps what the group left to us, and reports whether it has no
// living thread. The direct child was reaped before, so that nothing here can take
// its status away.
func groupEmpty(pgid int) bool {
	for {
		pid, err := syscall.Wait4(-pgid, nil, syscall.WNOHANG, nil)
		if err != nil || pid <= 0 {
			break
		}
	}
	if err := syscall.Kill(-pgid, 0); errors.Is(err, syscall.ESRCH) {
		return true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && inGroup(pid, pgid) && alive(pid) {
			return false
		}
	}
	return true
}

// sweep reaps what the command left to us, in or out of its group, while it runs:
// a command that forks much would fill the process table. other is the child that
// somebody else waits for.
func sweep(other int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == other {
			continue
		}
		if p, err := stat(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && p.parent == os.Getpid() && p.state == "Z" {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// alive reports whether a process has a thread that is no zombie. Its leader may
// be one while other threads work on.
func alive(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH)
	}
	for _, t := range threads {
		p, err := stat(fmt.Sprintf("/proc/%d/task/%s/stat", pid, t.Name()))
		if err == nil && !strings.Contains("ZX", p.state) {
			return true
		}
	}
	return false
}

func inGroup(pid, pgid int) bool {
	p, err := stat(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && p.group == pgid
}

type status struct {
	state         string
	parent, group int
}

// stat reads what follows a process's name, which may hold anything.
func stat(path string) (p status, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	_, err = fmt.Sscan(string(data[bytes.LastIndexByte(data, ')')+1:]), &p.state, &p.parent, &p.group)
	return p, err
}
