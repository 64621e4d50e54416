package main

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
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
