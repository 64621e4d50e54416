package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestWarmDisobeys has the active's command not stand down: its time is the stop timeout, and then it is
// killed and started anew.
func TestWarmDisobeys(t *testing.T) {
	t.Parallel()
	for name, long := range map[string]bool{"hung": false, "late": false, "stalled": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onRaft)
			r.ttl = 10 * time.Second
			r.warmed("--stop-timeout", "500ms")
			if long { // from its start on
				for _, id := range r.ids {
					r.fault(name, id, true)
				}
			}
			r.startAll()
			now := r.warmAt()
			if !long {
				r.fault(name, now.id, true)
			}
			r.handoff()
			if next := r.active(now.token); next.id == now.id {
				t.Errorf("%s handed over to itself", now.id)
			}
			if r.lives(now.pid) {
				t.Errorf("process %d does not stand down, and lives", now.pid)
			}
			r.logged(now.id, "killing the command: it or a process that it started did not stop in time")
			r.eventually("it is started anew", func() bool { return r.lastRun(now.id) != now.pid })
			r.finish()
		})
	}
}

// TestWarmCut takes the store away: the command stands down in time and stays warm, or it is killed in time.
// Either way another one works once the store is back.
func TestWarmCut(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{"stands down": "", "hangs": "hung"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onEtcd)
			r.warmed()
			r.startAll()
			now := r.warmAt()
			if fault != "" {
				r.fault(fault, now.id, true)
			}
			must(t, r.cluster.Members[0].Pause())
			r.awaitIdle()
			if lives := r.lives(now.pid); lives != (fault == "") {
				t.Errorf("the command lives: %t", lives)
			}
			r.startedOnce(r.others(now.id)...)
			must(t, r.cluster.Members[0].Resume())
			r.active(now.token)
			r.finish()
		})
	}
}

// TestWarmCloses has a command close its socket, in standby and while it works: it is started anew.
func TestWarmCloses(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.warmed()
	r.startAll()
	now := r.warmAt()
	for _, id := range []string{r.others(now.id)[0], now.id} {
		was := r.lastRun(id)
		r.fault("closed", id, true)
		r.eventually("it is killed", func() bool { return !r.lives(was) })
		r.fault("closed", id, false)
		r.logged(id, "killing the command: it has closed its socket, so nobody can tell it to stand down")
		r.eventually("it is started anew", func() bool { return r.lastRun(id) != was })
		r.warmAt()
	}
	r.finish()
}

// TestWarmNeverReady has one command never say that it is ready: it is last in line whatever its priority,
// its log says so once, and it takes over all the same when there is nobody else.
func TestWarmNeverReady(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	r := newTrio(t, onEtcd)
	r.warmed()
	r.fault("cold", "c", true)
	r.start("c", "--priority", "5")
	now := r.active(0) // alone
	r.start("a")
	r.start("b")
	r.inLine(2)
	const said = "the command has not sent READY=1 to its socket"
	r.logged("c", said)
	r.kill("c", syscall.SIGTERM)
	now = r.active(now.token)
	r.start("c", "--priority", "5")
	r.settle()
	r.shown("not ready")
	r.handoff()
	if next := r.active(now.token); next.id == "c" {
		t.Errorf("c works, which is not ready")
	}
	if n := strings.Count(r.log("c"), said); n != 1 {
		t.Errorf("its log says %d times that it is not ready", n)
	}
	r.finish()
}

// TestWarmGivesToTheReady: neither a handoff nor a clean stop gives the role to a standby whose command is not
// ready, though it is the first in line otherwise; and it is given to it when it is ready again.
func TestWarmGivesToTheReady(t *testing.T) {
	onEach(t, []string{onRaft, onEtcd}, testWarmGivesToTheReady)
}

func testWarmGivesToTheReady(t *testing.T, r *trio) {
	r.warmed()
	r.startAll()
	now := r.warmAt()
	cold, ready := r.others(now.id)[0], r.others(now.id)[1]
	r.expect(0, "", "priority", "--role", "r", "--id", cold, "5")
	r.fault("unready", cold, true)
	r.shown("not ready")
	r.expect(cli.NotDone, cold+" is not ready, and "+now.id+" stays active", "handoff", "--role", "r", "--to", cold)
	r.handoff()
	next := r.active(now.token)
	if next.id != ready {
		t.Errorf("a handoff: %s works, want %s", next.id, ready)
	}
	r.settle()
	r.kill(ready, syscall.SIGTERM)
	if third := r.active(next.token); third.id != now.id {
		t.Errorf("a clean stop: %s works, want %s", third.id, now.id)
	}
	r.fault("unready", cold, false)
	r.start(ready)
	last := r.warmAt()
	r.handoff(cold)
	if fourth := r.active(last.token); fourth.id != cold {
		t.Errorf("it is ready again: %s works, want %s", fourth.id, cold)
	}
	r.startedOnce(cold, now.id)
	r.finish()
}

// TestWarmRestart ends commands that cannot stand down, and starts them anew.
func TestWarmRestart(t *testing.T) { onEach(t, []string{onEtcd}, testWarmRestart) }

func testWarmRestart(t *testing.T, r *trio) {
	r.warmed()
	r.more = []string{"--warm=restart"}
	r.startAll()
	for range 3 {
		now := r.warmAt()
		r.handoff()
		r.active(now.token)
		if r.lives(now.pid) {
			t.Errorf("process %d was to end and lives", now.pid)
		}
		r.eventually("it is started anew", func() bool { return r.lastRun(now.id) != now.pid })
	}
	r.finish()
}

// TestWarmStalls: a warm command that makes no progress loses the role, and only while it works.
func TestWarmStalls(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.ttl = 10 * time.Second
	r.warmed("--watchdog", "1s")
	for _, id := range r.ids {
		r.fault("watched", id, true)
	}
	r.startAll()
	now := r.warmAt()
	r.fault("watched", now.id, false)
	if next := r.active(now.token); next.id == now.id {
		t.Errorf("%s makes no progress and works again", now.id)
	}
	r.logged(now.id, `reason="the work made no progress"`)
	r.fault("watched", now.id, true)
	r.finish()
}

// TestWarmUnguarded stops the active's wrapper and kills its witness: the init alone is left, and it has to know that the
// command works by now.
func TestWarmUnguarded(t *testing.T) { onEach(t, []string{onEtcd}, testWarmUnguarded) }

func testWarmUnguarded(t *testing.T, r *trio) {
	r.warmed("--hang-timeout", "0")
	r.startAll()
	now := r.warmAt()
	wrapper := r.procs[now.id].Process.Pid
	r.send(wrapper, syscall.SIGSTOP)
	r.send(r.witness(now.id), syscall.SIGKILL)
	r.active(now.token)
	if r.lives(now.pid) {
		t.Error("the command lives, and its deadline is over")
	}
	r.send(wrapper, syscall.SIGCONT)
	r.finish()
}

// TestWarmService stops a standby's whole service: its command hears of it before the wrapper does, and is not started
// again meanwhile.
func TestWarmService(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.warmed()
	r.startAll()
	now := r.warmAt()
	standby := r.others(now.id)[0]
	r.send(r.lastRun(standby), syscall.SIGTERM)
	r.eventually("its command has ended", func() bool { return !r.lives(r.lastRun(standby)) })
	r.signal(standby, syscall.SIGTERM)
	if state := r.ended(standby); state.ExitCode() != 0 {
		t.Errorf("%v", state)
	}
	if n := len(r.runs(standby)); n != 1 || strings.Contains(r.log(standby), "started again") {
		t.Errorf("its command was started %d times", n)
	}
	r.start(standby)
	r.finish()
}
