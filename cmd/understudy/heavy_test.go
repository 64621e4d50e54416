//go:build soak && linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestHeavyWriting writes as fast as can be to the disk of three wrappers' canaries, for a sixth of
// -soak. In memory nobody may lose the role. A real disk may take longer for one write than the
// watchdog: how often the role moved is told, beside the slowest write. TMPDIR chooses the disk.
func TestHeavyWriting(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		dir := t.TempDir()
		must(t, syscall.Mount("none", dir, "tmpfs", 0, "size=1g"))
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		if moves := heavyWriting(t, dir); moves > 0 {
			t.Errorf("the role moved %d times, though nothing had failed", moves)
		}
	})
	t.Run("on the disk", func(t *testing.T) { heavyWriting(t, t.TempDir()) })
}

// TestDiskHangsForLong has the active's disk take no fsync for 30 s: at a ttl of 10 s three promises.
func TestDiskHangsForLong(t *testing.T) {
	for _, store := range stores.Names {
		t.Run(store, func(t *testing.T) { testDiskHangs(t, store, true, 30*time.Second) })
	}
	t.Run("and holds the command", func(t *testing.T) { testDiskHangs(t, onEtcd, false, 30*time.Second) })
}

// heavyWriting returns how often the role moved.
func heavyWriting(t *testing.T, dir string) (moves int) {
	r := newTrio(t, onEtcd)
	r.ttl = 10 * time.Second
	r.command = []string{"sh", "-c", "UNDERSTUDY_TEST=notify exec " + os.Args[0]}
	r.startAll("--canary", dir, "--watchdog", watchdog.String())
	first := r.settle()
	for _, name := range []string{"1", "2", "3", "4"} {
		writeHard(t, filepath.Join(dir, name))
	}
	began := coordinator.Clocks().Mono
	slowest := probeDisk(t, dir)
	time.Sleep(*soak / 6) // the heavy writing itself
	r.mu.Lock()
	for _, s := range r.spans {
		if s.token != first.token {
			moves++
			t.Logf("%s took the role after %v; in the seconds before, one write took %v", s.id, s.first-began, slowest(s.first-2*watchdog, s.first))
		}
	}
	r.mu.Unlock()
	t.Logf("%d moves; the slowest write took %v, the watchdog is %v", moves, slowest(began, coordinator.Clocks().Mono), watchdog)
	r.judge()
	return moves
}

// writeHard writes a file over and over, and syncs each time, until the test ends.
func writeHard(t *testing.T, path string) {
	cmd := exec.Command("sh", "-c", `while dd if=/dev/zero of="$0" bs=1M count=128 conv=fsync,notrunc status=none; do :; done`, path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}
