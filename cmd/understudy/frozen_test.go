package main

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestBothStopped stops every wrapper and every witness, as a machine does that is suspended, for longer
// than a hang may last, again and again, in any order: no witness takes that for a hang of its process.
func TestBothStopped(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = 10 * time.Second
	r.startAll("--hang-timeout", "1s")
	now := r.active(0)
	r.inLine(2)
	for range 6 {
		var all []int
		for _, id := range r.ids {
			r.eventually("a witness", func() bool { return r.witness(id) != 0 })
			all = append(all, r.procs[id].Process.Pid, r.witness(id))
		}
		for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, pid := range all {
				r.send(pid, sig)
			}
			time.Sleep(1200 * time.Millisecond) // longer than a hang may last, and then until the next round
		}
	}
	for _, id := range r.ids {
		if state, _ := r.state(r.procs[id].Process.Pid); state == "" || state == "Z" || strings.Contains(r.log(id), "process killed") {
			t.Errorf("%s was killed: it is in state %q", id, state)
		}
	}
	if last := r.active(now.token - 1); last.token != now.token {
		t.Errorf("the role moved from token %d to %d", now.token, last.token)
	}
	r.finish()
}

// TestWokenWrapper: a wrapper that was stopped for longer than its promise has lost its role, and its command was ended
// meanwhile, by the init above it. When it is woken it ends, and does not say that the command ended by itself.
func TestWokenWrapper(t *testing.T) {
	t.Parallel()
	w := wrap(t, `echo ready; exec sleep 1000`, "--ttl", "1s", "--on-exit", "restart")
	var log lab.Said
	w.cmd.Stderr = &log
	w.start()
	w.expect("ready")
	w.signal(syscall.SIGSTOP)
	time.Sleep(2 * time.Second) // the promise ends
	w.signal(syscall.SIGCONT)
	if code := w.code(); code != coordinator.ExitCode {
		t.Errorf("exit code %d, want %d", code, coordinator.ExitCode)
	}
	if text := log.String(); strings.Contains(text, "ended by itself") || strings.Contains(text, "the work returned") || strings.Contains(text, "process killed") {
		t.Errorf("of what happened while it was stopped it says:\n%s", text)
	}
}
