package procgroup

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pidBits hold any process's number: the kernel's greatest is 2^22.
const pidBits = 22

func (id ID) pid() int { return int(id & (1<<pidBits - 1)) }

func newID(p proc) ID { return ID(p.start<<pidBits | uint64(p.pid)) }

// idOf is the ID of the Group whose init is a child that was not yet reaped.
func idOf(pid int) ID {
	p, _ := stat(pid)
	p.pid = pid
	return newID(p)
}

// A Handle is a Group as another process than its parent sees it. The zero Handle is one
// of which nothing is left.
type Handle struct {
	id    ID
	fd    int // the init's pidfd; not positive: it is gone
	first int // the pidfd of a child of the init's that leads a process group; not positive: none was seen
	group int // the number of that group
}

// ID returns the Group's.
func (h Handle) ID() ID { return h.id }

// Find returns a Handle for a Group, also for one of which nothing is left. Close frees it.
func Find(id ID) Handle {
	fd, err := unix.PidfdOpen(id.pid(), 0)
	if err != nil {
		return Handle{id: id}
	}
	if p, err := stat(id.pid()); err == nil && newID(p) != id { // the number is another's by now
		_ = unix.Close(fd)
		fd = 0
	}
	return Handle{id: id, fd: fd}
}

// Look opens a pidfd for the leader of the program's process group, so that End can end that group even after the init
// was killed. It is to be called again until it returns true: it holds such a pidfd, or the init has ended.
func (h *Handle) Look() (held bool) {
	if !h.lives() || running(h.first) {
		return true
	}
	pids, _ := children(h.id.pid()) // the oldest first
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if p, err := stat(pid); err == nil && p.parent == h.id.pid() && p.group == pid && h.lives() {
			closeFD(h.first)
			h.first, h.group = fd, pid
			return true
		}
		_ = unix.Close(fd)
	}
	return false
}

// Close frees the Handle. The Group is left alone.
func (h Handle) Close() {
	closeFD(h.fd)
	closeFD(h.first)
}

func closeFD(fd int) {
	if fd > 0 {
		_ = unix.Close(fd)
	}
}

// lives reports whether the init has not ended: it does when nothing is left.
func (h Handle) lives() bool { return running(h.fd) }

// running reports whether a pidfd's process has not ended.
func running(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if fd <= 0 {
		return false
	}
	for {
		if n, err := unix.Poll(poll, 0); err == nil { // else a signal came
			return n == 0
		}
	}
}

// Kill ends all of the Groups. It does not wait.
func Kill(handles ...Handle) {
	for _, h := range handles { // all of them first, for each kills what is its own
		h.wake()
	}
	for _, h := range handles { // it may be frozen, and what is below it not
		if h.lives() {
			h.tree().signal(syscall.SIGKILL)
		}
	}
}

// stubborn is how long KillBelow tries: what sleeps in the kernel cannot be killed.
const stubborn = 10 * time.Second

// KillBelow kills all that a process has of Groups whose init is dead: what that had adopted is the process's now, and
// nobody finds it any more once the process is dead. It returns when nothing of it is left, or when it has tried for ten
// seconds to kill what sleeps in the kernel. It does nothing if no Group's init is dead.
//
// mine is the process's pidfd, and says whether it lives: asking for this process's parent would name another one as soon as
// that process ends, below which may be every process of the machine. Spared are this process, and the living inits with all
// that is theirs: they are told to kill that, and if this killed one of them while the process ends, nobody would know its
// daemons any more.
func KillBelow(mine int, handles ...Handle) {
	if !slices.ContainsFunc(handles, func(h Handle) bool { return h.id != 0 && !h.lives() }) {
		return
	}
	root := numberOf(mine)
	if root <= 1 { // it is gone; or it is the first of its namespace, and all there dies with it
		return
	}
	Kill(handles...)
	self, inits := os.Getpid(), initsOf(root)
	t := tree{
		root: root, alive: func() bool { return running(mine) },
		spare: func(pid int) bool { return pid == self || inits[pid] != 0 && idOf(pid) == inits[pid] },
	}
	runtime.LockOSThread() // the priority is a thread's
	defer runtime.UnlockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)                             // where that is allowed: it races with what forks for ever
	for end := time.Now().Add(stubborn); t.alive() && time.Now().Before(end); { // it may fork meanwhile
		for young := 0; young < 100 && t.killYoung(); young++ {
			end = time.Now().Add(stubborn)
		}
		if !t.signal(syscall.SIGKILL) && t.dead() {
			return
		}
	}
}

// numberOf returns the number of a pidfd's process, or 0 or less once it was reaped; see proc_pid_fdinfo(5).
func numberOf(pidfd int) (pid int) {
	text, err := os.ReadFile(fmt.Sprint("/proc/self/fdinfo/", pidfd))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, _ = strconv.Atoi(strings.TrimSpace(n))
		}
	}
	return pid
}

// initsOf are the inits among the children of a process that runs the same program as this one.
func initsOf(parent int) map[int]ID {
	all := map[int]ID{}
	ours, err := os.Stat("/proc/self/exe")
	if err != nil {
		return all
	}
	pids, _ := children(parent)
	for _, pid := range pids {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !strings.HasPrefix(string(name), initName+"\x00") { // first, as what a storm of forks leaves is many
			continue
		}
		id := idOf(pid)
		if exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && os.SameFile(exe, ours) {
			all[pid] = id
		}
	}
	return all
}

// wake has the init kill all that is below it.
func (h Handle) wake() {
	if h.lives() {
		_ = unix.PidfdSendSignal(h.fd, killSignal, nil, 0)
		_ = unix.PidfdSendSignal(h.fd, syscall.SIGCONT, nil, 0)
	}
}

func (h Handle) tree() tree { return tree{root: h.id.pid(), alive: h.lives} }

// slow is the pause of End after which an init that is the last of its Group counts as one that
// cannot run, and is killed.
const slow = 10 * time.Millisecond

// End kills all of the Groups, and what they fork meanwhile, and returns when nothing of
// them is left but zombies. Of a Group whose init was killed it ends the program's process group, if Look
// had hold of that.
func End(handles ...Handle) {
	defer func(all []Handle) {
		for _, h := range all {
			h.endOrphans()
		}
	}(handles)
	handles = slices.Clone(handles)
	for wait := 50 * time.Microsecond; ; wait = min(3*wait/2, 20*time.Millisecond) {
		handles = slices.DeleteFunc(handles, func(h Handle) bool { return !h.lives() })
		if len(handles) == 0 {
			return
		}
		if wait > 2*time.Millisecond { // the inits do not get on with it
			for _, h := range handles {
				h.wake()
				if t := h.tree(); h.lives() {
					if !t.signal(syscall.SIGKILL) && wait > slow && t.dead() {
						_ = unix.PidfdSendSignal(h.fd, syscall.SIGKILL, nil, 0)
					}
				}
			}
		}
		time.Sleep(wait)
	}
}

// toGroup is PIDFD_SIGNAL_PROCESS_GROUP of Linux 6.9. It cannot hit another group: a number is not reused while the group
// has members, and an empty one is an error.
const toGroup = 4

// endOrphans kills what is left of the program's process group after the init, and waits until that is dead. Where
// the init had ended by itself nothing is left. The kernel kills a group in one piece: nobody forks out of it.
func (h Handle) endOrphans() {
	if h.first <= 0 {
		return
	}
	for end := time.Now().Add(stubborn); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if unix.PidfdSendSignal(h.first, syscall.SIGKILL, nil, toGroup) != nil || !anyIn(h.group) {
			return
		}
	}
}

// anyIn reports whether anybody lives in a process group.
func anyIn(group int) bool {
	pids, _ := processes()
	return slices.ContainsFunc(pids, func(pid int) bool {
		p, err := stat(pid)
		return err == nil && p.group == group && !p.dead()
	})
}
