package coordinator

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Clocks reads the machine's clocks.
func Clocks() Instant {
	return Instant{
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

// An alarm rings when a time has passed on CLOCK_BOOTTIME, which goes on while the
// machine sleeps: Go's timers stand still then.
type alarm struct {
	rings chan struct{}
	file  *os.File
	done  chan struct{} // closed when nobody reads the file any more
}

// newAlarm returns nil where the kernel gives no timer, as when descriptors run out.
func newAlarm() *alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil
	}
	a := &alarm{rings: make(chan struct{}, 1), file: os.NewFile(uintptr(fd), "timerfd"), done: make(chan struct{})}
	go a.read()
	return a
}

func (a *alarm) read() {
	defer close(a.done)
	times := make([]byte, 8)
	for {
		if _, err := a.file.Read(times); err != nil {
			return
		}
		select {
		case a.rings <- struct{}{}:
		default: // it rang already
		}
	}
}

// set has the alarm ring once after d, in place of what was set before, and reports
// whether it will.
func (a *alarm) set(d time.Duration) bool {
	conn, err := a.file.SyscallConn()
	if err != nil {
		return false
	}
	value := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))}
	failed := conn.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &value, nil) })
	return failed == nil && err == nil
}

func (a *alarm) close() {
	_ = a.file.Close()
	<-a.done
}
