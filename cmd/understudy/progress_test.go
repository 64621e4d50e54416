//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
)

// TestStalledCommand: a command that lives and makes no progress loses its role to another while
// its wrapper lives on, be it that it hangs, or that it was stopped.
func TestStalledCommand(t *testing.T) { onEach(t, []string{onRaft}, testStalledCommand) }

// TestStalledIsolated: the same holds in a PID namespace, whose processes have other numbers there.
func TestStalledIsolated(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newTrio(t, onEtcd)
	r.more = []string{"--isolate"}
	testStalledCommand(t, r)
}

func testStalledCommand(t *testing.T, r *trio) {
	r.ttl = 10 * time.Second
	r.more = append(r.more, "--watchdog", "1s")
	r.command = []string{"sh", "-c", "UNDERSTUDY_TEST=notify exec " + os.Args[0]}
	r.startAll()
	for name, stall := range map[string]func(now span, command int){
		"says nothing": func(now span, _ int) { must(t, os.WriteFile(filepath.Join(r.dir, "stall."+now.id), nil, 0o600)) },
		"is stopped":   func(_ span, command int) { r.send(command, syscall.SIGSTOP) },
	} {
		now := r.settle()
		wrapper := r.procs[now.id].Process.Pid
		command := r.child(r.init(now.id), os.Args[0]) // by its number here, which it may not know
		began := coordinator.Clocks().Mono
		stall(now, command)
		next := r.active(now.token)
		t.Logf("%s: the next works after %v", name, next.first-began)
		if next.first-began >= r.ttl || next.id == now.id {
			t.Errorf("%s: %s works after %v, %s did", name, next.id, next.first-began, now.id)
		}
		if state, _ := r.state(wrapper); state == "" || state == "Z" {
			t.Errorf("%s: the wrapper is gone", name)
		}
		if state, _ := r.state(command); state != "" && state != "Z" {
			t.Errorf("%s: the command that stalled lives", name)
		}
		if log := r.log(now.id); !strings.Contains(log, `reason="the work made no progress"`) || !strings.Contains(log, `msg="the command says" role=r line="at work"`) {
			t.Errorf("%s: the log does not say so", name)
		}
		_ = os.Remove(filepath.Join(r.dir, "stall."+now.id))
		r.eventually("status says so", func() bool {
			_, text := r.operate("status", "--role", "r", "-o", "json")
			return strings.Contains(text, `"unfit": "recovering from a failure"`)
		})
		r.expect(cli.NotDone, now.id+" is recovering from a failure, and "+next.id+" stays active", "handoff", "--role", "r", "--to", now.id)
	}
	r.finish()
}

// TestDescends: what others send to a command's socket says nothing of it.
func TestDescends(t *testing.T) {
	ours, theirs := os.Getpid(), 1
	if !descends(ours) || descends(theirs) || descends(1<<30) {
		t.Errorf("descends: %v, %v, %v", descends(ours), descends(theirs), descends(1<<30))
	}
}
