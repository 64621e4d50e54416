package procgroup

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A guard is how an init waits for its parent's word and for the deadline at once. It
// sleeps on a timer of a clock that goes on while the machine sleeps, and is not woken
// when the deadline moves: it looks again when the timer rings.
type guard struct {
	moment *moment // nil: there is no deadline
	timer  int
}

// newGuard maps the deadline that a memory file holds, and closes the file.
func newGuard(memory int) (g guard, err error) {
	defer unix.Close(memory)
	if g.moment, err = mapMoment(memory, unix.PROT_READ); err != nil {
		return guard{}, os.NewSyscallError("mmap", err)
	}
	g.timer, err = unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	return g, os.NewSyscallError("timerfd_create", err)
}

// over reports whether the deadline is.
func (g guard) over() bool { return g.moment.left() <= 0 }

// wait waits until there is something to hear, or the deadline is over, which it reports.
func (g guard) wait(wire int) (over bool) {
	if g.moment == nil {
		return false // hearing waits
	}
	for !g.over() {
		g.arm()
		fds := []unix.PollFd{{Fd: int32(wire), Events: unix.POLLIN}, {Fd: int32(g.timer), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
			continue
		}
		if fds[0].Revents != 0 {
			return g.over()
		}
	}
	return true
}

// arm sets the timer for the next look. Its clock may be slewed, by no more than a tenth:
// so it is set for nine tenths of what is left.
func (g guard) arm() {
	wait := max(g.moment.left()/10*9, time.Millisecond)
	_ = unix.TimerfdSettime(g.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}, nil)
}
