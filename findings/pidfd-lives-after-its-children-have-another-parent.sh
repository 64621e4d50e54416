#!/usr/bin/env bash
# While a Linux process ends, its children have another parent already, and its pidfd still says that it runs.
#
# Guess: who holds its parent's pidfd asks getppid() first and the pidfd last. If that says that the parent runs, the number
# was the parent's: a process cannot be dead for its children and alive for poll(2).
# What happens: the kernel gives the children away before it marks the process as ended, one by one under a lock that
# neither getppid() nor poll() takes. Of a process with 300 children on a machine with nothing else to do, a child that looks all
# the time finds the pidfd alive after its parent has changed in 8 of 30 tries. What it does then "to its parent, or to all that is
# below that", it does to whoever has adopted it: process 1, or a subreaper.
# For users of understudy: its witness kills what is below its process. It takes that process's number from the pidfd itself
# (Pid: in /proc/self/fdinfo), and asks the pidfd before each signal.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
uname -sr
go mod init example.com/finding 2> /dev/null
go get golang.org/x/sys@v0.49.0 2> /dev/null
cat > main.go << 'GO'
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func runs(pidfd int) bool {
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 0
}

func main() {
	if len(os.Args) == 1 { // the child, whose third descriptor is its parent's pidfd
		parent := os.Getppid()
		fmt.Println("ready")
		for os.Getppid() == parent {
		}
		fmt.Fprintln(os.Stderr, runs(3))
		return
	}
	children, err := strconv.Atoi(os.Args[1])
	me, err2 := unix.PidfdOpen(os.Getpid(), 0)
	child := exec.Command(os.Args[0])
	ready, err3 := child.StdoutPipe()
	child.Stderr, child.ExtraFiles = os.Stderr, []*os.File{os.NewFile(uintptr(me), "me")}
	if err4 := child.Start(); err != nil || err2 != nil || err3 != nil || err4 != nil {
		panic(fmt.Sprint(err, err2, err3, err4))
	}
	if _, err := ready.Read(make([]byte, 6)); err != nil {
		panic(err)
	}
	for range children {
		if _, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "1"}, &syscall.ProcAttr{}); err != nil {
			panic(err)
		}
	}
	os.Exit(0)
}
GO
go mod tidy 2> /dev/null
go build -o try .
for try in {1..100}; do # it takes a processor for each of the two
	[[ $(./try 300 2>&1 | tail -n 1) == true ]] || continue
	echo "try $try of a process with 300 children: a child has another parent, and the pidfd of the old one says that it runs"
	echo "as found: the children's parent changes first"
	exit
done
echo "CHANGED: never in 100 tries"
exit 1
