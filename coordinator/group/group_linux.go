package group

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attributes give the child a group of its own, and its death with ours. A gated one
// stops before its first instruction.
func attributes(s Spec) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Ptrace: s.Gate != nil}
	if s.Isolate {
		a.Cloneflags = syscall.CLONE_NEWPID
	}
	return a
}

// pass lets a gated child run when gate says so, and kills it otherwise. It must be
// called from the thread that forked, which is the child's tracer.
func pass(pid int, gate func(int) error) error {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || !status.Stopped() {
			return fmt.Errorf("the program did not reach its start: %w", errors.Join(err, errNotStopped))
		}
		break
	}
	err := gate(pid)
	if err == nil {
		err = os.NewSyscallError("ptrace", syscall.PtraceDetach(pid))
	}
	if err != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL) // whoever reaps it sees its end
	}
	return err
}

var errNotStopped = errors.New("it was killed before")

// becomeReaper makes orphans below this process its own children.
func becomeReaper() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// awaitEnd waits until a child has ended, and leaves it to be reaped: until then
// its number is nobody else's.
func awaitEnd(pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}

// collect reaps what the group left to us. The direct child was reaped before, so
// that nothing here can take its status away.
func collect(pgid int) {
	for {
		pid, err := syscall.Wait4(-pgid, nil, syscall.WNOHANG, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) || err == nil && pid <= 0 {
			return
		}
	}
}

// onlyZombies reports whether no member of the group lives. A member may fork
// another and end while it is looked for, so one look proves nothing. Two that
// find the same dead do: whoever could fork between them was alive in the second
// one's listing, and would have been found alive, gone, or newly dead.
func onlyZombies(pgid int) bool {
	first, ok := zombies(pgid)
	if !ok {
		return false
	}
	second, ok := zombies(pgid)
	return ok && slices.Equal(first, second)
}

// zombies lists the members of the group. ok: all of them are dead, and no process
// went away before it was seen; it may have been a member.
func zombies(pgid int) (pids []int, ok bool) {
	all, err := processes()
	if err != nil {
		return nil, false
	}
	for _, pid := range all {
		switch of, err := syscall.Getpgid(pid); { // a system call, where stat reads a file
		case err != nil:
			return nil, false
		case of != pgid:
			continue
		}
		if p, err := stat(pid); err != nil || !p.dead() {
			return nil, false
		}
		pids = append(pids, pid)
	}
	return pids, true
}

// sweep reaps what the command left to us, in or out of its group, now and then
// until stop is closed: a command that forks much would fill the process table.
// The direct children are reaped by others. So is any other that we started: one that is
// waited for is not found dead twice.
func sweep(stop <-chan struct{}) {
	var before []int
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Second):
		}
		if !anyDead() {
			before = nil
			continue
		}
		all, _ := processes()
		var dead []int
		for _, pid := range all {
			if p, err := stat(pid); err == nil && !isDirect(pid) && p.parent == os.Getpid() && p.dead() {
				dead = append(dead, pid)
			}
		}
		for _, pid := range dead {
			if slices.Contains(before, pid) && !isDirect(pid) {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
			}
		}
		before = dead
	}
}

// anyDead reports whether any child waits to be reaped, and leaves it so.
func anyDead() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

func isDirect(pid int) bool {
	_, is := direct.Load(pid)
	return is
}

func processes() (pids []int, err error) {
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

type status struct {
	state           string
	parent, threads int
}

// dead reports whether no thread is left to run. The first thread may be a zombie
// while others work on.
func (s status) dead() bool { return (s.state == "Z" || s.state == "X") && s.threads <= 1 }

// stat reads what the kernel says of a process, in one piece.
func stat(pid int) (status, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return status{}, err
	}
	// What follows the name, which may hold anything; see proc_pid_stat(5).
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 18 {
		return status{}, fmt.Errorf("/proc/%d/stat: too short: %q", pid, data)
	}
	parent, err1 := strconv.Atoi(f[1])
	threads, err2 := strconv.Atoi(f[17])
	return status{f[0], parent, threads}, errors.Join(err1, err2)
}
