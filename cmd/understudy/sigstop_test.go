//go:build linux

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStoppedCommand stops the command, or what it has left in the background, with SIGSTOP. A stop, a handoff and a loss of
// the store each wake it, so that it ends as it was told to, long before it would be killed.
func TestStoppedCommand(t *testing.T) {
	t.Parallel()
	stamp := []string{os.Args[0]}
	for what, command := range map[string]func(r *trio) []string{
		"the command": func(*trio) []string { return stamp },
		"a child":     func(*trio) []string { return []string{"sh", "-c", os.Args[0] + " & wait"} },
		"a daemon":    func(r *trio) []string { return r.daemon() },
	} {
		for name, end := range ends {
			t.Run(what+", "+name, func(t *testing.T) {
				t.Parallel()
				r := newTrio(t, onEtcd)
				r.ttl = 10 * time.Second
				r.command, r.more = command(r), []string{"--heartbeat", "500ms", "--stop-timeout", "5m"} // longer than the test has patience
				r.startAll()
				now := r.settle()
				r.send(now.pid, syscall.SIGSTOP)
				r.eventually("it is stopped", func() bool { state, _ := r.state(now.pid); return state == "T" })
				end(r, now)
				if next := r.active(now.token); next.pid == now.pid {
					t.Errorf("the same process works again: %d", next.pid)
				}
				if r.lives(now.pid) {
					t.Errorf("process %d lives, and the role is another's", now.pid)
				}
				if log := r.log(now.id); strings.Contains(log, "killing the command") {
					t.Errorf("it was killed, though it ends when it is told to:\n%s", log)
				}
				r.finish()
			})
		}
	}
}

// ends are ways in which a term ends.
var ends = map[string]func(r *trio, now span){
	"stop": func(r *trio, now span) {
		r.signal(now.id, syscall.SIGTERM)
		if code := r.ended(now.id).ExitCode(); code != 0 {
			r.t.Errorf("the stop ends with %d", code)
		}
		r.start(now.id)
	},
	"handoff": func(r *trio, now span) { r.handoff() },
	"loss": func(r *trio, now span) {
		must(r.t, r.cluster.Members[0].Pause())
		r.awaitLog(now.id, " work=ended")
		must(r.t, r.cluster.Members[0].Resume())
	},
}

// TestStoppedWarmCommand stops a warm command while it works: it stands down all the same, and stays warm. One that was
// stopped while it stood by works when its turn comes.
func TestStoppedWarmCommand(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onEtcd)
			r.ttl = 10 * time.Second
			r.warmed("--heartbeat", "500ms", "--stop-timeout", "5m")
			r.startAll()
			now := r.warmAt()
			for _, id := range r.ids {
				pid := r.lastRun(id)
				r.send(pid, syscall.SIGSTOP)
				r.eventually("it is stopped", func() bool { state, _ := r.state(pid); return state == "T" })
			}
			end(r, now)
			r.active(now.token)
			if name != "stop" {
				r.startedOnce(now.id)
			}
			if log := r.log(now.id); strings.Contains(log, "killing the command") {
				t.Errorf("it was killed, though it stands down when it is told to:\n%s", log)
			}
			for _, id := range r.ids {
				r.send(r.lastRun(id), syscall.SIGCONT)
			}
			r.finish()
		})
	}
}
