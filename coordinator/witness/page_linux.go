package witness

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// A page is the memory that a process shares with its witness. The process writes the current
// state, and the witness reads it when it looks: nothing blocks, and the last value counts. What
// the process wrote stays when it dies.
type page struct {
	ready    atomic.Bool  // the witness stands by; written by it
	works    atomic.Int32 // that have not returned
	pulse    atomic.Int64 // when the coordinator last turned, by CLOCK_MONOTONIC
	deadline latest[instant]
	session  latest[nonce]
	groups   [MaxGroups]atomic.Uint64 // the groups that the witness must answer for; 0: none
	guarded  [MaxGroups]atomic.Uint64 // those that it answers for; written by it
	looks    atomic.Uint64            // how often it has looked; written by it. 0: it is an older program, which does not count
}

// An instant is a coordinator.Instant by the clocks that an owner believes.
type instant struct{ raw, boot time.Duration }

// left is how long it is until i by the clock that shows less.
func (i instant) left(now coordinator.Instant) time.Duration {
	return min(i.raw-now.Raw, i.boot-now.Boot)
}

// A nonce is a lock.SessionID.
type nonce struct {
	n    uint8
	text [95]byte
}

func (s nonce) id() lock.SessionID { return lock.SessionID(s.text[:s.n]) }

// A latest is a value that one writer changes, and that a reader always sees whole, even if the
// writer was stopped or killed in the middle of a change: the value that counts is never written
// to.
type latest[T any] struct {
	writes atomic.Uint64
	values [2]T
}

func (l *latest[T]) store(v T) {
	n := l.writes.Load() + 1
	l.values[n%2] = v
	l.writes.Store(n)
}

// load returns the value, or the zero one if none was stored.
func (l *latest[T]) load() T {
	for {
		n := l.writes.Load()
		if v := l.values[n%2]; l.writes.Load() == n {
			return v
		}
	}
}

const pageSize = 8192

// share maps the page that a memory file holds.
func share(fd int) (*page, error) {
	b, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*page)(unsafe.Pointer(&b[0])), nil
}

func (p *page) unmap() { _ = unix.MunmapPtr(unsafe.Pointer(p), pageSize) }
