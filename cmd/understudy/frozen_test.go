package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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

// TestAllStopped stops all that belongs to an active, as the pause of a container does, until others have its roles, and then
// has all of it go on: the wrapper ends, and nothing of the commands is left, also what has left their groups.
func TestAllStopped(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = time.Second
	var file strings.Builder
	fmt.Fprintf(&file, "backend: etcd\nttl: 1s\nonExit: restart\netcd:\n  endpoints: %q\nroles:\n", r.store.Etcd.Endpoints)
	for i := range 6 {
		fmt.Fprintf(&file, "- name: r%d\n  command: \"for i in 1 2 3; do setsid sleep 1000 & done; wait\"\n", i)
	}
	path := filepath.Join(r.dir, "roles.yaml")
	must(t, os.WriteFile(path, []byte(file.String()), 0o600))
	run := func(id string) { r.launch(id, "run", "--config", path, "--id", id) }
	run("a")
	for round := range 4 {
		now, next := r.ids[round%2], r.ids[(round+1)%2]
		wrapper := r.procs[now].Process.Pid
		r.eventually(now+" works", func() bool { return len(r.below(wrapper)) == 1+6*(1+1+3) }) // a witness; inits, shells, sleeps
		run(next)
		r.logged(next, "msg=transition role=r5 id="+next+" from=registering to=standby")
		all := append(r.below(wrapper), wrapper)
		for _, pid := range all {
			r.send(pid, syscall.SIGSTOP)
		}
		successor := r.procs[next].Process.Pid
		r.eventually(next+" works", func() bool { return len(r.below(successor)) == 1+6*(1+1+3) })
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, pid := range all {
			r.send(pid, syscall.SIGCONT)
		}
		r.ended(now)
		r.eventually(now+"'s log says why it ended", func() bool {
			return strings.Count(r.log(now), "process killed")+strings.Count(r.log(now), "it ends itself then") > round/2
		})
		r.eventually("nothing is left of "+now, func() bool {
			return !slices.ContainsFunc(all, func(pid int) bool { state, _ := r.state(pid); return state != "" && state != "Z" })
		})
	}
}
