//go:build linux

// Package faultdisk is a disk that fails as a test says: whose fsync hangs, that is slow, full or
// read-only. It is a real file system in the kernel, by FUSE, above a directory of the test's.
// Processes of their own use it as any other, and a stalled one holds them as a broken disk does:
// asleep in the kernel, where no signal ends them.
package faultdisk

import (
	"context"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A Fault is what is wrong with a disk. The zero Fault is none.
type Fault struct {
	Stalled  bool          // no fsync returns, and nothing else writes to a file of which one is under way
	Killable bool          // whom a signal ends is not held by a stalled fsync, as on a network file system
	Slow     time.Duration // each write and each fsync takes so much longer
	Full     bool          // nothing new can be written; what a file has can be written over
	ReadOnly bool          // nothing can be written, as after an error in a file system's journal
}

// A Disk is one file system.
type Disk struct {
	Dir string // where it is mounted

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed and replaced by Set
	held    int           // how many calls of fsync do not return
}

// New mounts a disk, which is unmounted when the test ends. Where that cannot be the test fails, and
// says what it takes.
func New(t testing.TB) *Disk {
	t.Helper()
	d := &Disk{Dir: t.TempDir(), changed: make(chan struct{})}
	under, err := fs.NewLoopbackRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := os.Geteuid() == 0
	server, err := fs.Mount(d.Dir, &node{under.(*fs.LoopbackNode), d}, &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "faultdisk", Name: "faultdisk",
		AllowOther: root, DirectMount: root,
		DisabledCapabilities: fuse.CAP_PASSTHROUGH, // else the kernel writes past us
	}})
	if err != nil {
		t.Fatalf("no disk of a test's own: %v; it takes FUSE: /dev/fuse, and root or the program fusermount3", err)
	}
	t.Cleanup(func() {
		d.Set(Fault{})
		unmount := server.Unmount
		if root { // also while somebody uses it, who is ended later
			unmount = func() error { return syscall.Unmount(d.Dir, syscall.MNT_DETACH) }
		}
		if err := unmount(); err != nil {
			t.Errorf("%s is still mounted: %v", d.Dir, err)
		}
	})
	return d
}

// Set says what is wrong with the disk from now on. What a stall held goes on when that is over.
func (d *Disk) Set(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
	close(d.changed)
	d.changed = make(chan struct{})
}

// Held is how many calls of fsync do not return at the moment.
func (d *Disk) Held() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held
}

func (d *Disk) now() (Fault, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fault, d.changed
}

func (d *Disk) hold(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held += n
}

// change is why nothing can be changed, or 0. more says that it takes room.
func (d *Disk) change(more bool) syscall.Errno {
	f, _ := d.now()
	time.Sleep(f.Slow) // that it takes so long is the fault
	switch {
	case f.ReadOnly:
		return syscall.EROFS
	case f.Full && more:
		return syscall.ENOSPC
	}
	return 0
}

// sync returns when an fsync may.
func (d *Disk) sync(ctx context.Context) syscall.Errno {
	errno := d.change(false)
	d.hold(1)
	defer d.hold(-1)
	for {
		f, changed := d.now()
		if !f.Stalled {
			return errno
		}
		var signal <-chan struct{}
		if f.Killable {
			signal = ctx.Done()
		}
		select {
		case <-changed:
		case <-signal:
			return syscall.EINTR
		}
	}
}
