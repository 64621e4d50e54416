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
	r := newTrio(t, onRaft)
	r.command, r.more = daemon(), []string{"--hang-timeout", "500ms"}
	for _, id := range r.ids {
		r.start(id)
	}
	for _, fault := range daemonFaults {
		t.Log(fault.name)
		now := r.settle()
		fault.inject(r, now)
		r.active(now.token)
		if state, _ := r.state(now.pid); state != "" && state != "Z" {
			t.Errorf("%s: the daemon lives, and the role is another's", fault.name)
		}
	}
	r.settle()
	for _, id := range r.ids {
		r.kill(id, syscall.SIGTERM)
	}
	r.judge()
	r.nothingLeft()
}

// send signals a process that must be there.
func (r *trio) send(pid int, sig syscall.Signal) {
	r.t.Helper()
	if pid <= 0 {
		r.t.Fatalf("there is none that could get the %v", sig)
	}
	_ = syscall.Kill(pid, sig)
}

// unguard stops a wrapper and kills its witness, of which one comes first: the command's
// init alone is left to hold the deadline. The wrapper goes on when another works.
func (r *trio) unguard(now span, first syscall.Signal, between time.Duration) {
	r.t.Helper()
	wrapper, witness := r.procs[now.id].Process.Pid, r.witness(now.id)
	stop, kill := func() { r.send(wrapper, syscall.SIGSTOP) }, func() { r.send(witness, syscall.SIGKILL) }
	if first == syscall.SIGKILL {
		stop, kill = kill, stop
	}
	stop()
	time.Sleep(between) // a drawn moment
	kill()
	next := r.active(now.token)
	if state, _ := r.state(now.pid); state != "" && state != "Z" {
		r.t.Errorf("%s works with token %d, and so does %s with %d", next.id, next.token, now.id, now.token)
	}
	r.send(wrapper, syscall.SIGCONT) // where it lives: a witness that came anew has killed it
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
