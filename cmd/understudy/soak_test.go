//go:build soak

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

var soak = flag.Duration("soak", time.Hour, "how long nothing may happen while the machine is idle; a sixth of it while it is busy")

// busyLoops are more than the cores that a small machine has.
const busyLoops = 4

// TestNoFalseTakeover leaves three wrappers alone, at a ttl of 1 s on stores of one
// member: nobody may lose the role, while the machine idles and while it is busy. A disk
// that takes as long as the ttl for one write moves it all the same, which fails the test
// and is told; TMPDIR chooses another disk.
func TestNoFalseTakeover(t *testing.T) {
	for _, busy := range []bool{false, true} {
		for _, store := range stores.Names { // one after the other: the rest of the machine idles
			t.Run(fmt.Sprintf("busy=%t/%s", busy, store), func(t *testing.T) { testNoFalseTakeover(t, newTrio(t, store), busy) })
		}
	}
}

func testNoFalseTakeover(t *testing.T, r *trio, busy bool) {
	long := *soak
	if busy {
		long /= 6
	}
	r.startAll("--ttl", "1s")
	first := r.active(0)
	r.inLine(2)
	if busy {
		keepBusy(t)
	}
	began := coordinator.Clocks().Mono
	slowest := probeDisk(t, r.dir)
	time.Sleep(long) // the soak itself
	r.mu.Lock()
	for _, s := range r.spans {
		if s.token != first.token {
			t.Errorf("%s took the role with token %d after %v, though nothing had failed; in the two seconds before, one write to the disk took %v",
				s.id, s.token, s.first-began, slowest(s.first-2*time.Second, s.first))
		}
	}
	r.mu.Unlock()
	t.Logf("the slowest write to the disk took %v", slowest(began, coordinator.Clocks().Mono))
	r.judge()
}

// TestNoFalseElection leaves three wrappers with embedded Raft at its default timing on a machine that is busy all the
// time: nobody may be elected while nothing fails. A disk that takes as long as the timing for one write makes an
// election due, which fails the test and is told; TMPDIR=/dev/shm is no disk.
func TestNoFalseElection(t *testing.T) {
	r := newTrio(t, onRaft)
	r.ttl = 10 * time.Second
	r.startAll("--hang-timeout", "0") // it takes no part in elections
	r.active(0)
	r.inLine(2)
	term := func() (greatest uint64) {
		r.eventually("every node says its term", func() bool {
			g, err := raft.Status(lab.Within(t, 10*time.Second), r.store.Raft)
			for _, m := range g.Members {
				if m.Node == nil {
					return false
				}
				greatest = max(greatest, m.Node.Term)
			}
			return err == nil
		})
		return greatest
	}
	before := term()
	keepBusy(t)
	began := coordinator.Clocks().Mono
	slowest := probeDisk(t, r.dir)
	time.Sleep(*soak) // the soak itself
	elections := term() - before
	t.Logf("%d elections in %v, and the slowest write to the disk took %v", elections, *soak, slowest(began, coordinator.Clocks().Mono))
	if elections > 0 {
		t.Error("somebody was elected, though nothing had failed")
	}
	r.finish()
}

func keepBusy(t *testing.T) {
	for range busyLoops {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}

// probeDisk writes a page to the disk twenty times a second until the test ends. slowest
// is the longest that it took of the writes that ended between two moments.
func probeDisk(t *testing.T, dir string) (slowest func(from, to time.Duration) time.Duration) {
	f, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		ended = map[time.Duration]time.Duration{} // how long it took, by when it ended
		probe sync.WaitGroup
		page  = make([]byte, os.Getpagesize())
		stop  = make(chan struct{})
	)
	probe.Go(func() {
		defer f.Close()
		for tick := time.Tick(50 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick:
			}
			began := coordinator.Clocks().Mono
			if _, err := f.Write(page); err != nil {
				t.Error(err)
				return
			}
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				t.Error(err)
				return
			}
			now := coordinator.Clocks().Mono
			mu.Lock()
			ended[now] = now - began
			mu.Unlock()
		}
	})
	t.Cleanup(func() { close(stop); probe.Wait() })
	return func(from, to time.Duration) (most time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		for at, took := range ended {
			if at >= from && at <= to {
				most = max(most, took)
			}
		}
		return most
	}
}
