//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab/faultdisk"
)

// TestDiskHangs: the disk of the active hangs, for its command and for the canary. The role moves
// long before the promise is over, and comes back to that contender only when its disk does. A command that
// sleeps in the kernel cannot be ended by anybody: then its promise ends the term.
func TestDiskHangs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{onRaft, onEtcd, onConsul} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testDiskHangs(t, name, true, 0)
		})
	}
	t.Run("and holds the command", func(t *testing.T) {
		t.Parallel()
		testDiskHangs(t, onEtcd, false, 0)
	})
}

// testDiskHangs has a disk hang until the next works, and for so long at least.
func testDiskHangs(t *testing.T, store string, killable bool, long time.Duration) {
	r := newTrio(t, store)
	r.ttl = 10 * time.Second
	disks := map[string]*faultdisk.Disk{}
	for _, id := range r.ids {
		disks[id] = faultdisk.New(t)
		r.commands = map[string][]string{}
	}
	for _, id := range r.ids {
		r.commands[id] = []string{"sh", "-c", "UNDERSTUDY_TEST=disk UNDERSTUDY_TEST_DISK=" + disks[id].Dir + " exec " + os.Args[0]}
		r.start(id, "--canary", disks[id].Dir, "--watchdog", watchdog.String())
	}
	now := r.settle()
	wrapper := r.procs[now.id].Process.Pid
	began := coordinator.Clocks().Mono
	disks[now.id].Set(faultdisk.Fault{Stalled: true, Killable: killable})
	next := r.active(now.token)
	t.Logf("the next works after %v", next.first-began)
	if next.id == now.id {
		t.Errorf("%s works on a disk that hangs", next.id)
	}
	if log := r.log(now.id); !strings.Contains(log, "nothing could be written for "+watchdog.String()) {
		t.Error("the log does not say so")
	}
	if killable {
		if next.first-began > r.ttl/2 {
			t.Errorf("the next works after %v, which is no better than a promise of %v", next.first-began, r.ttl)
		}
		if state, _ := r.state(wrapper); state == "" || state == "Z" {
			t.Error("the wrapper is gone")
		}
		code, said := r.operate("handoff", "--role", "r", "--to", now.id, "--timeout", "1s")
		if code == 0 {
			t.Errorf("the role was handed to a process whose disk hangs: %s", said)
		}
	}
	time.Sleep(long - (coordinator.Clocks().Mono - began)) // so long does it hang
	if r.active(0).token != next.token {
		t.Error("the role moved again while the disk hung")
	}
	disks[now.id].Set(faultdisk.Fault{})
	r.settle()
	r.expect(0, "-> "+now.id, "handoff", "--role", "r", "--to", now.id)
	r.finish()
}

// watchdog is that of the tests in which a disk hangs.
const watchdog = 2 * time.Second
