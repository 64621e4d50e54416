// Package clock reads the machine's clocks, and rings when a time has passed on them.
package clock

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
)

// Now reads the machine's clocks.
func Now() machine.Instant {
	return machine.Instant{
		Mono: read(unix.CLOCK_MONOTONIC),
		Raw:  read(unix.CLOCK_MONOTONIC_RAW),
		Boot: read(unix.CLOCK_BOOTTIME),
	}
}

// read cannot fail: Linux has had all three clocks since 2.6.39.
func read(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// An Alarm rings when a time has passed on CLOCK_BOOTTIME, which goes on while the machine
// sleeps; Go's timers stand still then.
type Alarm struct {
	Rings chan struct{}
	file  *os.File
	done  chan struct{} // closed when the file is no longer read
}

// NewAlarm returns nil if the kernel gives no timer, as when descriptors run out.
func NewAlarm() *Alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil
	}
	a := &Alarm{Rings: make(chan struct{}, 1), file: os.NewFile(uintptr(fd), "timerfd"), done: make(chan struct{})}
	go a.read()
	return a
}

func (a *Alarm) read() {
	defer close(a.done)
	times := make([]byte, 8)
	for {
		if _, err := a.file.Read(times); err != nil {
			return
		}
		select {
		case a.Rings <- struct{}{}:
		default: // it rang already
		}
	}
}

// Set makes the alarm ring once after d, in place of what was set before, and reports whether it
// will.
func (a *Alarm) Set(d time.Duration) bool {
	conn, err := a.file.SyscallConn()
	if err != nil {
		return false
	}
	value := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))}
	failed := conn.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &value, nil) })
	return failed == nil && err == nil
}

// Close ends the alarm, and waits until nothing of it is left.
func (a *Alarm) Close() {
	_ = a.file.Close()
	<-a.done
}
