// Package process proves that another process of this machine is dead.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/lock"
)

// This describes this process so that its death can be proved. A field that cannot be read is
// left empty, and proves nothing.
func This() lock.Process {
	pids, _ := os.Readlink("/proc/self/ns/pid")
	times, _ := os.Readlink("/proc/self/ns/time")
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return lock.Process{
		Boot: strings.TrimSpace(string(boot)), PIDs: pids, Times: times,
		PID: os.Getpid(), Started: startOf(os.Getpid()),
	}
}

// startOf returns when a process began, in the kernel's ticks, or "". Where /proc is that of another PID namespace, its
// numbers mean others.
func startOf(pid int) string {
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return ""
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, found := bytes.Cut(stat, []byte(") ")) // a name may hold anything
	if i := bytes.LastIndex(stat, []byte(") ")); found {
		rest = stat[i+2:]
	}
	if fields := bytes.Fields(rest); len(fields) > 19 {
		return string(fields[19])
	}
	return ""
}

// Dead reports whether p is proved dead: its PID is free, or its pidfd says that it ended, or
// another process has it. A process that is missing from /proc is not proof: it may be hidden.
func Dead(p lock.Process) bool {
	me := This()
	if p.PID <= 0 || p.Boot == "" || p.PIDs == "" || p.Boot != me.Boot || p.PIDs != me.PIDs {
		return false
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return true
	}
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 0); err == nil && n == 1 && poll[0].Revents&unix.POLLIN != 0 {
		return true
	}
	now := startOf(p.PID)
	return p.Times != "" && p.Times == me.Times && p.Started != "" && now != "" && now != p.Started
}
