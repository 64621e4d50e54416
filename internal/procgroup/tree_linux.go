package procgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A proc is what the kernel says of a process.
type proc struct {
	pid, parent, group int
	state              string
	threads            int
	start              uint64 // in ticks since the machine started
}

// dead reports whether no thread is left to run. The first thread may be a zombie
// while others work on.
func (p proc) dead() bool { return (p.state == "Z" || p.state == "X") && p.threads <= 1 }

// stat reads what the kernel says of a process, in one piece.
func stat(pid int) (proc, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, err
	}
	// What follows the name, which may hold anything; see proc_pid_stat(5).
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 20 {
		return proc{}, fmt.Errorf("/proc/%d/stat: too short: %q", pid, data)
	}
	p := proc{pid: pid, state: f[0]}
	var errs [4]error
	p.parent, errs[0] = strconv.Atoi(f[1])
	p.group, errs[1] = strconv.Atoi(f[2])
	p.threads, errs[2] = strconv.Atoi(f[17])
	p.start, errs[3] = strconv.ParseUint(f[19], 10, 64)
	return p, errors.Join(errs[:]...)
}

// processes lists the numbers of all processes, in rising order.
func processes() (pids []int, err error) {
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, err
}

// A tree is what descends from a process that adopts its orphans: so whatever was below
// it is below it for as long as both live.
type tree struct {
	root  int
	spare func(int) bool // children of it that do not count, nor what is below them; nil: none
	reap  func(pid int)  // reaps a dead child of root; nil: root is another process
	alive func() bool    // whether root is still the process that was meant; nil: it is
}

// look calls visit for every process below root, soon after it was read: few forks
// escape. whole: no process went away before it was seen; it may have been below root.
func (t tree) look(visit func(proc)) (whole bool) {
	pids, err := processes()
	whole = err == nil
	below := map[int]bool{t.root: true}
	var others []proc
	take := func(p proc) bool {
		if !below[p.parent] || p.pid == t.root || p.parent == t.root && t.spare != nil && t.spare(p.pid) {
			return false
		}
		below[p.pid] = true
		visit(p)
		return true
	}
	for _, pid := range pids {
		p, err := stat(pid)
		if err != nil {
			whole = false
		} else if !take(p) {
			others = append(others, p)
		}
	}
	for found := true; found; { // a parent may have a greater number than its child
		before := len(others)
		others = slices.DeleteFunc(others, take)
		found = len(others) < before
	}
	return whole
}

// walk calls visit for every process below root, by the list that the kernel keeps of each one's
// children: it costs as much as there is below, where look costs as much as runs on the machine.
// A process that ends meanwhile may hide others, so a walk proves nothing; the next one finds them. It begins with
// the youngest, before they have forked anew: the zombies of a parent that is stopped are many.
func (t tree) walk(visit func(proc)) (found bool) {
	for above := []proc{{pid: t.root}}; len(above) > 0; above = above[1:] {
		below, _ := children(above[0].pid)
		if now, err := stat(above[0].pid); above[0].pid != t.root && (err != nil || now.start != above[0].start) {
			continue // it has ended, and these may be the children of another one that has its number
		}
		for _, pid := range slices.Backward(below) {
			p, err := stat(pid)
			if err != nil || p.parent != above[0].pid && p.parent != t.root { // it is gone, or its number another's
				continue
			}
			if p.parent == t.root && t.spare != nil && t.spare(pid) {
				continue
			}
			if found = true; !p.dead() { // the dead have left their children to root
				above = append(above, p)
			}
			visit(p)
		}
	}
	return found
}

// children lists the children of all threads of a process; none where the kernel keeps no lists. whole:
// no thread ended meanwhile.
func children(pid int) (pids []int, whole bool) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	whole = err == nil
	for _, thread := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		whole = whole && err == nil // otherwise its children are another's
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids, whole
}

// reapChild reaps a child of this process if it is dead.
func reapChild(pid int) { _, _ = syscall.Wait4(pid, nil, syscall.WNOHANG|unix.WALL, nil) }

// signal sends a signal to everything below root that lives, and reports whether it found any that
// did. What a walk missed is found by the next call, for which there is reason until all is dead.
func (t tree) signal(sig syscall.Signal) (alive bool) {
	visit := func(p proc) {
		if !p.dead() {
			alive = true
			t.send(p, sig)
		} else if t.reap != nil && p.parent == t.root {
			t.reap(p.pid)
		}
	}
	if !t.walk(visit) {
		t.look(visit)
	}
	return alive
}

// killYoung kills what root adopted last, and reports whether it found any of that that can be killed at once.
// The kernel's list has the young at its end. It stops at a few dead in a row: those of a root that is
// stopped are thousands, and what forks for ever goes on while all are looked at.
func (t tree) killYoung() (alive bool) {
	pids, _ := children(t.root)
	dead := 0
	for _, pid := range slices.Backward(pids) {
		p, err := stat(pid)
		switch {
		case err != nil || p.parent != t.root || t.spare != nil && t.spare(pid):
		case !p.dead():
			alive, dead = alive || p.state != "D", 0
			t.send(p, syscall.SIGKILL)
		case dead == 32:
			return alive
		default:
			dead++
		}
	}
	return alive
}

// send signals one process, if it is still the one that was seen.
func (t tree) send(p proc, sig syscall.Signal) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // an old kernel, or a sandbox
		_ = syscall.Kill(p.pid, sig)
		return
	}
	if err != nil {
		return // it is gone
	}
	defer unix.Close(fd)
	if now, err := stat(p.pid); err == nil && now.start == p.start && (t.alive == nil || t.alive()) {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// dead reports whether nothing below root lives. Where the kernel keeps lists of children, those of root
// alone say so: who ends leaves its children to root, at the end of such a list. So if every child
// was dead, and then there are the same ones, nobody can be left below them. A list may lack somebody only
// where one that it has was reaped while it was read, and then that one is gone: what other processes of the
// machine do does not matter. The third list is for a child that moves from a thread of root that ends to
// another one.
func (t tree) dead() bool {
	if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(os.Getpid()) + "/children"); err != nil {
		return t.deadByLooks()
	}
	first, ok := t.deadChildren()
	for range 2 {
		if !ok {
			return false
		}
		var again []proc
		again, ok = t.deadChildren()
		ok = ok && slices.Equal(first, again)
	}
	return ok
}

// deadChildren lists the children of root. ok: the list is whole, and each that counts is dead.
func (t tree) deadChildren() (all []proc, ok bool) {
	pids, ok := children(t.root)
	for _, pid := range pids {
		p, err := stat(pid)
		spared := t.spare != nil && t.spare(pid)
		if err != nil || p.parent != t.root || !spared && !p.dead() {
			return nil, false
		}
		all = append(all, proc{pid: pid, start: p.start})
	}
	return all, ok
}

// deadByLooks is dead without such lists. One of them may fork another and end
// while it is looked for, so one look proves nothing. Two that find the same dead do:
// whoever could fork between them was alive in the second one's listing, and would have
// been found alive, gone, or newly dead. That holds while numbers rise, for they are
// listed in that order: where they began anew meanwhile, nothing is proven. The third look is
// for a process that has its number and is not listed yet: on a machine that keeps us waiting
// in between, two of a chain can be passed over in one look.
func (t tree) deadByLooks() bool {
	before := newest()
	first, ok := t.zombies()
	for range 2 {
		if !ok {
			return false
		}
		var again []int
		again, ok = t.zombies()
		ok = ok && slices.Equal(first, again)
	}
	return ok && newest() >= before
}

// newest is the number of the process that was started last; 0: not known.
func newest() int {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text[bytes.LastIndexByte(text, ' ')+1:])))
	return n
}

// zombies lists what is below root. ok: all of them are dead.
func (t tree) zombies() (pids []int, ok bool) {
	ok = true
	whole := t.look(func(p proc) {
		pids = append(pids, p.pid)
		ok = ok && p.dead()
	})
	slices.Sort(pids)
	return pids, ok && whole
}
