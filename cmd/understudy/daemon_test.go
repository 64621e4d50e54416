//go:build linux

package main

import (
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestDaemon has a command that works in the background. However its term ends, the role
// is given back when it has ended, and nothing of it is left.
func TestDaemon(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.command, r.more = r.daemon(), []string{"--hang-timeout", "500ms"}
	r.startAll()
	for _, fault := range daemonFaults {
		t.Log(fault.name)
		now := r.settle()
		fault.inject(r, now)
		r.active(now.token)
		if state, _ := r.state(now.pid); state != "" && state != "Z" {
			t.Errorf("%s: the daemon lives, and the role is another's", fault.name)
		}
	}
	r.finish()
}

// TestStoppedWithoutWitness stops a wrapper that has no witness: its command, daemons too,
// is dead before another works, by its init alone. It goes on, and stands by again.
func TestStoppedWithoutWitness(t *testing.T) {
	t.Parallel()
	for name, more := range map[string][]string{"plain": nil, "isolated": {"--isolate"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onRaft)
			r.more = append(more, "--witness=false")
			if more == nil {
				r.command = r.daemon()
			}
			r.startAll()
			for range 3 {
				now := r.settle()
				r.signal(now.id, syscall.SIGSTOP)
				r.active(now.token)
				r.signal(now.id, syscall.SIGCONT)
			}
			r.finish()
		})
	}
}

// TestNoZombiesAreLeft hands the role of a command with daemons round and round: nothing that has died waits to be
// buried below a wrapper or its init.
func TestNoZombiesAreLeft(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.command = []string{"sh", "-c", "sh -c 'sleep 1000 & sleep 1000 &'; (true &); exec " + os.Args[0]}
	r.startAll()
	for range 10 {
		r.handOver()
	}
	r.settled()
	for _, id := range r.ids {
		wrapper := r.procs[id].Process.Pid
		r.eventually("no dead process is left below "+id, func() bool {
			for _, one := range r.below(wrapper) {
				if state, _ := r.state(one); state == "Z" {
					return false
				}
			}
			return true
		})
	}
	r.finish()
}

// below are all processes that descend from one.
func (r *trio) below(pid int) (all []int) {
	for _, one := range r.children(pid, "") {
		all = append(append(all, one), r.below(one)...)
	}
	return all
}

var daemonFaults = []struct {
	name   string
	inject func(r *trio, now span)
}{
	{"the first process ends", func(r *trio, now span) {
		r.send(r.child(r.init(now.id), "sh\x00"), syscall.SIGKILL)
	}},
	{"the daemon is stopped, and the wrapper told to stop", func(r *trio, now span) {
		r.send(now.pid, syscall.SIGSTOP)
		r.signal(now.id, syscall.SIGTERM)
		began := time.Now()
		_ = r.procs[now.id].Wait()
		if took := time.Since(began); took > 20*time.Second {
			r.t.Errorf("the stop took %v", took)
		}
		r.start(now.id)
	}},
	{"handoff", func(r *trio, now span) {
		if code := execute(r.t.Context(), append([]string{"handoff", "--role", "r"}, r.flags...), io.Discard, os.Stderr); code != 0 {
			r.t.Errorf("handoff: exit code %d", code)
		}
	}},
	{"SIGKILL of the wrapper", func(r *trio, now span) { r.signal(now.id, syscall.SIGKILL) }},
	{"SIGSTOP of the wrapper", func(r *trio, now span) { r.signal(now.id, syscall.SIGSTOP) }},
	{"SIGKILL of the init", func(r *trio, now span) { r.send(r.init(now.id), syscall.SIGKILL) }},
	{"SIGSTOP of the wrapper, and SIGKILL of the init", func(r *trio, now span) {
		init := r.init(now.id)
		r.signal(now.id, syscall.SIGSTOP)
		r.send(init, syscall.SIGKILL)
	}},
	{"SIGSTOP of the wrapper, and SIGKILL of the witness", func(r *trio, now span) {
		r.unguard(now, syscall.SIGSTOP, 0)
	}},
	{"SIGKILL of the witness, and SIGSTOP of the wrapper", func(r *trio, now span) {
		r.unguard(now, syscall.SIGKILL, 0)
	}},
	{"SIGKILL of wrapper and witness", func(r *trio, now span) {
		r.send(r.witness(now.id), syscall.SIGKILL)
		r.signal(now.id, syscall.SIGKILL)
	}},
	{"SIGSTOP of wrapper and init", func(r *trio, now span) {
		r.send(r.init(now.id), syscall.SIGSTOP)
		r.signal(now.id, syscall.SIGSTOP)
	}},
}

// TestHookOfAStoppedWrapper: wrapper and inits are stopped while a hook runs. The witness ends the hook as it ends the command,
// before another one works.
func TestHookOfAStoppedWrapper(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.start("a", "--on-active", "while :; do sleep 0.02; done")
	now := r.active(0)
	r.start("b")
	r.inLine(1)
	r.eventually("the hook runs", func() bool { return len(r.inits("a")) == 2 })
	all := r.inits("a")
	hooks := r.below(all[0])
	hooks = append(hooks, r.below(all[1])...)
	for _, pid := range append(all, r.procs["a"].Process.Pid) {
		r.send(pid, syscall.SIGSTOP)
	}
	r.active(now.token)
	for _, pid := range hooks {
		if r.lives(pid) {
			t.Errorf("process %d of the command or the hook lives beside the next active", pid)
		}
	}
	r.signal("b", syscall.SIGTERM)
	r.ended("b")
}
