package procgroup

import (
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Deadline is the moment until which Groups may run. It stands in memory that this
// process shares with their inits: whatever has become of this process, be it only
// stopped, each init kills its Group then. Nothing is sent, and nobody waits.
type Deadline struct {
	memory *os.File
	moment *moment
}

// NewDeadline returns a Deadline that is over until it is set.
func NewDeadline() (*Deadline, error) {
	fd, err := unix.MemfdCreate("understudy-deadline", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	d := &Deadline{memory: os.NewFile(uintptr(fd), "memfd")}
	if err = unix.Ftruncate(fd, momentSize); err == nil {
		d.moment, err = mapMoment(fd, unix.PROT_READ|unix.PROT_WRITE)
	}
	if err != nil {
		_ = d.memory.Close() // nothing was written that could be lost
		return nil, os.NewSyscallError("mmap", err)
	}
	return d, nil
}

// Set says by the readings of CLOCK_MONOTONIC_RAW and CLOCK_BOOTTIME when it is over:
// then, when either shows that much. One goroutine at a time calls it. It never blocks. A Group
// sees at once that it moved back only where it is sent a signal after that, such as 0.
func (d *Deadline) Set(raw, boot time.Duration) {
	if d != nil {
		d.moment.set(raw, boot)
	}
}

// A moment is what stands in the memory. One process changes it; the others see it whole,
// also where that one was stopped or killed in the midst of a change: the place that
// counts is never written to.
type moment struct {
	changes atomic.Uint64
	places  [2]struct{ raw, boot atomic.Int64 }
}

const momentSize = 4096

// mapMoment maps the moment that a memory file holds.
func mapMoment(fd, how int) (*moment, error) {
	b, err := unix.Mmap(fd, 0, momentSize, how, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*moment)(unsafe.Pointer(&b[0])), nil
}

func (m *moment) set(raw, boot time.Duration) {
	n := m.changes.Load() + 1
	m.places[n%2].raw.Store(int64(raw))
	m.places[n%2].boot.Store(int64(boot))
	m.changes.Store(n)
}

// left is how long it is until then, by the clock that shows less.
func (m *moment) left() time.Duration {
	if m == nil {
		return math.MaxInt64
	}
	for {
		n := m.changes.Load()
		p := &m.places[n%2]
		raw, boot := time.Duration(p.raw.Load()), time.Duration(p.boot.Load())
		if m.changes.Load() == n {
			return min(raw-clock(unix.CLOCK_MONOTONIC_RAW), boot-clock(unix.CLOCK_BOOTTIME))
		}
	}
}

// clock cannot fail: Linux has had both clocks since 2.6.39.
func clock(which int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(which, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
