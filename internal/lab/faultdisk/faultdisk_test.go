//go:build linux

package faultdisk_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/faultdisk"
)

// dd writes a block to a file, and syncs it, in a process of its own.
func dd(ctx context.Context, path string, more ...string) *exec.Cmd {
	args := append([]string{"if=/dev/zero", "of=" + path, "bs=4096", "count=1", "conv=notrunc,fsync", "status=none"}, more...)
	return exec.CommandContext(ctx, "dd", args...)
}

// TestFaults: each fault is what a process gets from the kernel, and is over when it is taken back.
func TestFaults(t *testing.T) {
	t.Parallel()
	d := faultdisk.New(t)
	old, fresh := filepath.Join(d.Dir, "old"), filepath.Join(d.Dir, "fresh")
	write := func(path string, more ...string) string {
		out, err := dd(t.Context(), path, more...).CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		return string(out)
	}
	if said := write(old); said != "" {
		t.Fatal(said)
	}
	for _, c := range []struct {
		fault      faultdisk.Fault
		old, fresh string
	}{
		{faultdisk.Fault{ReadOnly: true}, "Read-only file system", "Read-only file system"},
		{faultdisk.Fault{Full: true}, "", "No space left on device"},
		{faultdisk.Fault{}, "", ""},
	} {
		d.Set(c.fault)
		if said := write(old); !strings.Contains(said, c.old) || (said == "") != (c.old == "") {
			t.Errorf("%+v: a file that there is: %q", c.fault, said)
		}
		if said := write(fresh); !strings.Contains(said, c.fresh) || (said == "") != (c.fresh == "") {
			t.Errorf("%+v: a new one: %q", c.fault, said)
		}
	}
	d.Set(faultdisk.Fault{Full: true})
	if said := write(old, "seek=100"); !strings.Contains(said, "No space left") {
		t.Errorf("a file grew on a full disk: %q", said)
	}
	d.Set(faultdisk.Fault{Slow: 300 * time.Millisecond})
	began := time.Now()
	if said := write(old); said != "" || time.Since(began) < 600*time.Millisecond {
		t.Errorf("slow: %q after %v", said, time.Since(began))
	}
}

// TestStalled: a process whose fsync hangs cannot be killed, unless that is part of the fault; it
// ends when the disk goes on.
func TestStalled(t *testing.T) {
	t.Parallel()
	for _, killable := range []bool{false, true} {
		d := faultdisk.New(t)
		d.Set(faultdisk.Fault{Stalled: true, Killable: killable})
		cmd := dd(t.Context(), filepath.Join(d.Dir, "file"))
		lab.Must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		lab.Eventually(t, "an fsync that hangs", func() bool { return d.Held() == 1 })
		lab.Must(t, cmd.Process.Kill())
		if killable {
			<-ended
			continue
		}
		select {
		case err := <-ended:
			t.Errorf("it ended: %v", err)
		case <-time.After(300 * time.Millisecond):
		}
		d.Set(faultdisk.Fault{})
		<-ended
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
			t.Errorf("it ended by itself: %v", cmd.ProcessState)
		}
	}
}

// TestDatabase: what a database needs of a disk is there: locks, a mapped file, a file that grows.
func TestDatabase(t *testing.T) {
	t.Parallel()
	d := faultdisk.New(t)
	path := filepath.Join(d.Dir, "db")
	for i := range 2 {
		db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
		lab.Must(t, err)
		lab.Must(t, db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			if i == 1 && len(b.Get([]byte("k"))) != 1<<20 {
				return errors.New("what was written is gone")
			}
			return b.Put([]byte("k"), make([]byte, 1<<20))
		}))
		lab.Must(t, db.Close())
	}
	lab.Must(t, os.Rename(path, path+".old"))
	lab.Must(t, os.Remove(path+".old"))
}
