//go:build linux

package procgroup

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestParentEndsWhileKilled: a process that was stopped with all that belongs to it is woken, and ends by itself while
// another one kills what is below it, as the init of one group has ended. Of its other group, whose init
// lives, no daemon is left, whenever that is.
func TestParentEndsWhileKilled(t *testing.T) {
	for delay := time.Duration(0); delay < 8*time.Millisecond; delay += 500 * time.Microsecond {
		cmd := exec.Command(os.Args[0], "woken", delay.String())
		lines := bufio.NewScanner(lab.Output(t, cmd))
		pids := numbers(t, lines, daemonsOfWoken)
		if lines.Scan(); lines.Text() != "ended" {
			t.Fatalf("the killer says %q", lines.Text())
		}
		if left := slices.DeleteFunc(pids, func(pid int) bool { return !lives(pid) }); len(left) > 0 {
			t.Errorf("the parent ended %v after the killing began, and %d daemons are left", delay, len(left))
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_ = cmd.Wait() // it ends with a code
	}
}

const daemonsOfWoken = 40

// wake has two groups, the first of which ends, and another process that kills what is below this one. This one ends
// a while after that began.
func wake(after string) {
	delay := must(time.ParseDuration(after))
	first := must(Start(context.Background(), shell("sleep 1000")))
	out, theirs, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	s := shell(fmt.Sprintf(`for i in $(seq %d); do setsid sh -c 'echo $$; exec sleep 1000' & done; wait`, daemonsOfWoken))
	s.Stdout = theirs
	other := must(Start(context.Background(), s))
	lines := bufio.NewScanner(out)
	for range daemonsOfWoken {
		lines.Scan()
		fmt.Println(lines.Text())
	}
	killer := exec.Command(os.Args[0], "waker", fmt.Sprint(uint64(first.id)), fmt.Sprint(uint64(other.id)))
	killer.Stdout, killer.Stderr = os.Stdout, os.Stderr
	killer.ExtraFiles = []*os.File{os.NewFile(uintptr(must(unix.PidfdOpen(os.Getpid(), 0))), "me")}
	now := must(killer.StdinPipe())
	if err := killer.Start(); err != nil {
		panic(err)
	}
	Spare(killer.Process.Pid)
	first.Kill()
	<-first.Gone()
	if _, err := now.Write([]byte("now\n")); err != nil {
		panic(err)
	}
	time.Sleep(delay) // to end in the midst of it
	os.Exit(1)
}

// killWoken is what a witness does to its process at the deadline, and then about what that has left.
func killWoken() {
	const mine = 3 // its pidfd
	var all []Handle
	for _, id := range os.Args[2:] {
		all = append(all, Find(ID(must(strconv.ParseUint(id, 10, 64)))))
	}
	if !bufio.NewScanner(os.Stdin).Scan() {
		panic("nobody says when")
	}
	KillBelow(mine, all...)
	_ = unix.PidfdSendSignal(mine, unix.SIGKILL, nil, 0)
	Kill(all...)
	End(all...)
	fmt.Println("ended")
}

// TestNumberOf reads the number of a process from its pidfd, before and after it was reaped.
func TestNumberOf(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	lab.Must(t, cmd.Start())
	pidfd := must(unix.PidfdOpen(cmd.Process.Pid, 0))
	defer unix.Close(pidfd)
	if got := numberOf(pidfd); got != cmd.Process.Pid {
		t.Errorf("%d, want %d", got, cmd.Process.Pid)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if got := numberOf(pidfd); got > 0 {
		t.Errorf("of a process that is gone: %d", got)
	}
}
