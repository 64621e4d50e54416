package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/faultdisk"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestCommandThatCannotBeRead: the file of a command is on a disk that does not answer when its role comes, whether signals
// end what hangs there or not. The role can be handed on, the process stops when it is told to, and the command never runs.
func TestCommandThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faultdisk.Fault{
		"not found":             {Silent: true, Killable: true},
		"not read":              {Unread: true, Killable: true},
		"not found, unkillable": {Silent: true},
		"not read, unkillable":  {Unread: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, disk := newTrio(t, onEtcd), faultdisk.New(t)
			r.ttl = 4 * time.Second
			ran, program := filepath.Join(r.dir, "ran"), filepath.Join(disk.Dir, "program")
			lab.Must(t, os.WriteFile(program, []byte("#!/bin/sh\n: > "+ran+"\nsleep 1000\n"), 0o700))
			r.commands = map[string][]string{"b": {program}}
			r.start("a")
			first := r.active(0)
			r.start("b", "--stop-timeout", "2s")
			r.inLine(1)
			disk.Set(fault)
			r.expect(0, "r: a -> b", "handoff", "--role", "r", "--to", "b")
			r.eventually("it hangs", func() bool { return disk.Held() > 0 })
			r.expect(0, "r: b -> a", "handoff", "--role", "r", "--to", "a")
			next := r.active(first.token)
			r.expect(0, "r: a -> b", "handoff", "--role", "r", "--to", "b")
			r.eventually("b has the role", func() bool { return strings.Count(r.log("b"), "to=active ") == 2 })
			r.signal("b", syscall.SIGHUP) // which the command is to get, and waits for nothing
			r.signal("b", syscall.SIGTERM)
			if state := r.ended("b"); state.ExitCode() != 0 {
				t.Errorf("b ended with %v\n%s", state, r.log("b"))
			}
			r.active(next.token)
			disk.Set(faultdisk.Fault{})
			time.Sleep(200 * time.Millisecond) // what could run would
			if _, err := os.Stat(ran); err == nil {
				t.Error("the command ran, though it was not to")
			}
		})
	}
}

// TestWarmIsStartedOnce: a process that gets the role while its warm command is still being started has that command work.
// A disk that does not answer does not keep the process waiting before.
func TestWarmIsStartedOnce(t *testing.T) {
	t.Parallel()
	r, disk := newTrio(t, onEtcd), faultdisk.New(t)
	r.ttl = 10 * time.Second
	ran, program := filepath.Join(r.dir, "ran"), filepath.Join(disk.Dir, "program")
	lab.Must(t, os.WriteFile(program, []byte("#!/bin/sh\ncat <&$UNDERSTUDY_SOCKET >>"+ran+"\n"), 0o700))
	r.commands = map[string][]string{"a": {program}}
	disk.Set(faultdisk.Fault{Unread: true, Killable: true})
	r.start("a", "--warm")
	r.logged("a", "nobody knows whether the commands can be started: their disk does not answer")
	r.logged("a", "to=active ")
	disk.Set(faultdisk.Fault{})
	r.eventually("it is told to work", func() bool {
		told, _ := os.ReadFile(ran)
		return strings.Contains(string(told), "active token=")
	})
	r.signal("a", syscall.SIGTERM)
	r.ended("a")
	if told, _ := os.ReadFile(ran); strings.Count(string(told), "standby\n") != 1 {
		t.Errorf("it was told:\n%s\n%s", told, r.log("a"))
	}
	if strings.Contains(r.log("a"), "to=paused") {
		t.Errorf("its first term failed:\n%s", r.log("a"))
	}
}

// TestVoterOnASilentDisk: one that is told to stop while its disk hangs ends as it was told to.
func TestVoterOnASilentDisk(t *testing.T) {
	t.Parallel()
	r, disk := newTrio(t, onRaft), faultdisk.New(t)
	for _, id := range r.ids { // not in this process, which would outlive a disk that its library still reads
		dir := filepath.Join(r.dir, id)
		if id == "a" {
			dir = filepath.Join(disk.Dir, id)
		}
		r.launch(id, "raft-voter", "--id", id, "--ttl", "5s", "--raft-dir", dir, "--raft-peers", stores.List(r.store.Raft.Peers))
	}
	led(t, r.store.Raft.Peers)
	disk.Set(faultdisk.Fault{Stalled: true, Killable: true})
	defer disk.Set(faultdisk.Fault{})
	for _, p := range r.store.Raft.Peers { // so that a has something to write
		_, _ = said(t, "raft", "member", "promote", "a", "--timeout", "1s", "--raft-peers", p.String())
	}
	r.signal("a", syscall.SIGTERM)
	if code := r.ended("a").ExitCode(); code != 0 {
		t.Errorf("it ends with %d\n%s", code, r.log("a"))
	}
}

// TestFenceOnASilentDisk: a fence command that cannot be looked at keeps nobody from working.
func TestFenceOnASilentDisk(t *testing.T) {
	t.Parallel()
	r, disk := newTrio(t, onEtcd), faultdisk.New(t)
	disk.Set(faultdisk.Fault{Silent: true, Killable: true})
	program := filepath.Join(disk.Dir, "program")
	r.start("a", "--fence", program)
	r.active(0)
	r.logged("a", "commands=["+program+"]")
	r.signal("a", syscall.SIGTERM)
	r.ended("a")
}
