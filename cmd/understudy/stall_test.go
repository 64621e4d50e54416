//go:build linux

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fullPipe is a pipe that is filled to the brim and that nobody reads.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(ends[0]) })
	_ = unix.SetNonblock(ends[1], true)
	for size := 1 << 16; size > 0; {
		if _, err := unix.Write(ends[1], make([]byte, size)); err != nil {
			size /= 2
		}
	}
	_ = unix.SetNonblock(ends[1], false) // whoever writes to it blocks
	full := os.NewFile(uintptr(ends[1]), "full")
	t.Cleanup(func() { _ = full.Close() })
	return full
}

// TestStalledLog has active, standby, witnesses and voter write to a pipe that nobody
// reads, from the start: whatever fails, the outcome is as with a log that is read.
func TestStalledLog(t *testing.T) {
	for name, inject := range stalledFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onRaft)
			r.stderr = fullPipe(t)
			r.ttl = 8 * time.Second // a busy machine takes a second to start a process, which is no hang
			r.more = []string{"--health-interval", "200ms"}
			r.voter()
			for _, id := range r.ids[:2] {
				r.start(id, "--health", "echo checking; test ! -e "+r.sick(id)+" || sleep 1000")
			}
			now := r.active(0)
			r.inLine(1)
			inject(r, now)
			r.active(now.token)
			for id, cmd := range r.procs {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				watchdog := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
				if err := cmd.Wait(); err != nil {
					t.Errorf("%s is told to stop: %v", id, err)
				}
				watchdog.Stop()
				delete(r.procs, id)
			}
			r.judge()
			r.nothingLeft()
		})
	}
}

// voter starts c, which only votes.
func (r *trio) voter() {
	r.launch("c", append([]string{"raft-voter", "--id", "c", "--ttl", r.ttl.String(), "--log-level", "debug", "--raft-dir", filepath.Join(r.dir, "c")}, r.flags[2:]...)...)
}

// sick is a file in whose presence a wrapper's health check hangs.
func (r *trio) sick(id string) string { return filepath.Join(r.dir, "sick."+id) }

// ended waits until a wrapper is gone.
func (r *trio) ended(id string) {
	_ = r.procs[id].Wait()
	delete(r.procs, id)
}

var stalledFaults = map[string]func(r *trio, now span){
	"crash": func(r *trio, now span) { r.kill(now.id, syscall.SIGKILL) },
	"hang": func(r *trio, now span) {
		if err := os.WriteFile(r.sick(now.id), nil, 0o600); err != nil {
			r.t.Fatal(err)
		}
		r.ended(now.id)
	},
	"stopped wrapper": func(r *trio, now span) {
		r.signal(now.id, syscall.SIGSTOP)
		r.ended(now.id)
	},
	"SIGTERM": func(r *trio, now span) {
		r.signal(now.id, syscall.SIGTERM)
		r.ended(now.id)
	},
	"handoff": func(r *trio, _ span) {
		if code := execute(r.t.Context(), append([]string{"handoff", "--role", "r"}, r.flags...), io.Discard, os.Stderr); code != 0 {
			r.t.Errorf("handoff: exit code %d", code)
		}
	},
	"loss of the store": func(r *trio, now span) {
		for id := range r.procs {
			if id != now.id {
				r.kill(id, syscall.SIGKILL)
			}
		}
		r.eventually("the command has ended", func() bool { state, _ := r.state(now.pid); return state == "" })
		r.voter()
	},
}

// TestStalledError ends with its code, though nobody reads why.
func TestStalledError(t *testing.T) {
	cmd := exec.Command(os.Args[0], "run", "--backend", "nonsense")
	cmd.Env, cmd.Stderr = append(os.Environ(), "UNDERSTUDY_TEST=wrapper", "UNDERSTUDY_NONSENSE=a warning"), fullPipe(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
}
