//go:build linux

// Package faultdisk is a disk that fails as a test says: whose fsync hangs, that is slow, full or
// read-only. It is a real file system in the kernel, by FUSE, above a directory of the test's; a process of
// its own serves it, so that the test may use it, too. A stalled one holds who uses it as a broken
// disk does: asleep in the kernel, where no signal ends anybody.
package faultdisk

import (
	"encoding/json"
	"io"
	"os"
	"sync"
	"testing"
	"time"
)

// A Fault is what is wrong with a disk. The zero Fault is none.
type Fault struct {
	Stalled  bool          // no fsync returns, and nothing else writes to a file of which one is under way
	Unread   bool          // no file can be opened: who tries hangs
	Silent   bool          // and no name can be looked for, as where a network file system has lost its server
	Killable bool          // what hangs ends with a signal, as on a network file system
	Slow     time.Duration // each write and each fsync takes so much longer
	Full     bool          // nothing new can be written; what a file has can be written over
	ReadOnly bool          // nothing can be written, as after an error in a file system's journal
}

// A Disk is one file system.
type Disk struct {
	Dir string // where it is mounted

	t       testing.TB
	mu      sync.Mutex
	orders  io.WriteCloser
	answers *json.Decoder
}

// New mounts a disk, which is unmounted when the test ends. Where that cannot be the test fails, and
// says what it takes.
func New(t testing.TB) *Disk {
	t.Helper()
	d := &Disk{Dir: t.TempDir(), t: t}
	cmd := command(d.Dir, t.TempDir())
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	d.orders, d.answers = orders, json.NewDecoder(answers)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = orders.Close() // it is told nothing more
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", d.Dir, err)
		}
	})
	if d.hear() < 0 {
		t.Fatal("there is no disk of the test's own: it takes FUSE, that is /dev/fuse, and root or the program fusermount3")
	}
	return d
}

// Set says what is wrong with the disk from now on. What a stall held goes on when that is over.
func (d *Disk) Set(f Fault) { d.tell(&f) }

// Held is how many calls do not return at the moment.
func (d *Disk) Held() int { return d.tell(nil) }

// tell tells the server a fault, or asks alone.
func (d *Disk) tell(f *Fault) (held int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := json.NewEncoder(d.orders).Encode(f); err != nil {
		d.t.Errorf("%s: %v", d.Dir, err)
		return -1
	}
	return d.hear()
}

// hear is the server's next answer; -1: it has none.
func (d *Disk) hear() (held int) {
	if err := d.answers.Decode(&held); err != nil {
		d.t.Errorf("%s: %v", d.Dir, err)
		return -1
	}
	return held
}
