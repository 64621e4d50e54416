package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// A page is memory in which a warm command reads whether it may work, without asking anybody. Only this
// process writes there. See docs/warm.md for what a reader does.
type page struct {
	file *os.File // for the command; it is not open for writing
	text *pageText
}

// A pageText is the page's layout: 64 bytes, a cache line. The place of the two that counts is never written to, so a
// reader sees it whole, also where this process was stopped in the midst of a change.
type pageText struct {
	format  uint64
	changes atomic.Uint64 // the place that counts is this modulo 2
	places  [2]struct {
		token     atomic.Uint64 // 0: stands by
		boot, raw atomic.Int64  // the deadline by CLOCK_BOOTTIME and CLOCK_MONOTONIC_RAW, in ns
	}
}

// pageFormat marks a page, and its layout.
const pageFormat = 0x31_59_44_54_53_52_44_55 // "UDRSTDY1" in memory, with the least byte first

const pageSize = 4096

// newPage returns a page that says that the command stands by.
func newPage() (*page, error) {
	fd, err := unix.MemfdCreate("understudy-page", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	defer unix.Close(fd) // the mapping stays
	if err := unix.Ftruncate(fd, pageSize); err != nil {
		return nil, os.NewSyscallError("ftruncate", err)
	}
	memory, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	// Nobody can write to it any more but by this mapping, which no child inherits.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, os.NewSyscallError("fcntl F_ADD_SEALS", err)
	}
	p := &page{text: (*pageText)(unsafe.Pointer(&memory[0]))}
	p.text.format = pageFormat
	p.file, err = os.Open(fmt.Sprint("/proc/self/fd/", fd))
	return p, err
}

// set says until when the command may work under a token. It never blocks, and one goroutine at a time calls it.
func (p *page) set(token lock.Token, until coordinator.Instant) {
	n := p.text.changes.Load() + 1
	at := &p.text.places[n%2]
	at.token.Store(uint64(token))
	at.boot.Store(int64(until.Boot))
	at.raw.Store(int64(until.Raw))
	p.text.changes.Store(n)
}
