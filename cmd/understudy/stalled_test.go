//go:build linux

package main

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// A stall is a fault of a group whose every process writes to a pipe that nobody reads:
// an active, a standby, their witnesses, and a voter.
type stall struct {
	name   string
	inject func(r *trio, now span, standby string)
	stays  bool // with the active, whose command works on; otherwise the role moves, or begins anew
}

// TestStalledLog lets everything fail in every process of such a group, with the command
// as it is shipped: the outcome is as with a log that is read.
func TestStalledLog(t *testing.T) {
	t.Parallel()
	for whom, faults := range stalls {
		t.Run(whom, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onRaft)
			r.stderr = fullPipe(t)
			r.stalls(faults)
		})
	}
}

// TestStoppedTerminal is TestStalledLog with a terminal on which somebody has typed ctrl-S, and a store of its own.
func TestStoppedTerminal(t *testing.T) {
	t.Parallel()
	for _, whom := range []string{"active", "standby", "witness"} {
		t.Run(whom, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onEtcd)
			r.ids, r.stderr = []string{"a", "b"}, stoppedTerminal(t)
			r.stalls(stalls[whom])
		})
	}
}

// stalls lets one thing after another fail.
func (r *trio) stalls(faults []stall) {
	r.t.Helper()
	r.program = filepath.Join(shipped(r.t.(*testing.T)), "understudy")
	r.ttl = 8 * time.Second // a busy machine takes a second to start a process, which is not a hang
	for _, fault := range faults {
		now, standby := r.refill()
		r.t.Log(fault.name)
		fault.inject(r, now, standby)
		if !fault.stays {
			r.active(now.token)
			continue
		}
		if same, _ := r.refill(); same.token != now.token {
			r.t.Errorf("the role moved: token %d, then %d", now.token, same.token)
		}
	}
	r.refill()
	for id := range r.procs {
		r.told(id)
	}
	r.judge()
	r.nothingLeft()
}

// refill starts what has ended, until a and b are in line and one works; c only votes.
func (r *trio) refill() (now span, standby string) {
	r.t.Helper()
	r.eventually("one is active and one stands by", func() (ok bool) {
		for _, id := range r.ids {
			r.restart(id)
		}
		now, ok = r.wholeWith(2)
		return ok && r.votes() && r.witness("a") != 0 && r.witness("b") != 0 // a session may be of one that is dead
	})
	return now, map[string]string{"a": "b", "b": "a"}[now.id]
}

// restart starts one that has ended.
func (r *trio) restart(id string) {
	if cmd := r.procs[id]; cmd != nil {
		if state, _ := r.state(cmd.Process.Pid); state != "Z" {
			return
		}
		_ = cmd.Wait()
	}
	_ = os.Remove(r.sick(id))
	if id == "c" {
		r.voter()
		return
	}
	r.start(id, "--health-interval", "200ms", "--health", "echo checking; test ! -e "+r.sick(id)+" || sleep 1000")
}

// votes reports whether the voter, where the store needs one, has got so far that it answers.
func (r *trio) votes() bool {
	if r.cluster != nil {
		return true
	}
	for _, p := range r.store.Raft.Peers {
		if p.ID == "c" {
			conn, err := net.Dial("tcp", p.Address)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		}
	}
	return false
}

// voter starts c, which only votes.
func (r *trio) voter() {
	r.launch("c", append([]string{"raft-voter", "--id", "c", "--ttl", r.ttl.String(), "--log-level", "debug", "--raft-dir", filepath.Join(r.dir, "c")}, r.flags[2:]...)...)
}

// sick is a file in whose presence a wrapper's health check hangs.
func (r *trio) sick(id string) string { return filepath.Join(r.dir, "sick."+id) }

func (r *trio) sicken(id string) {
	if err := os.WriteFile(r.sick(id), nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// told tells a process to stop, and expects that it does.
func (r *trio) told(id string) {
	r.t.Helper()
	r.signal(id, syscall.SIGTERM)
	if state := r.ended(id); !state.Success() {
		r.t.Errorf("%s was told to stop: %v", id, state)
	}
}

// ends sends a process what it must not outlive.
func (r *trio) ends(id string, sig syscall.Signal) {
	r.t.Helper()
	r.signal(id, sig)
	r.ended(id)
}

// alone kills all processes but those of one.
func (r *trio) alone(id string) {
	for other := range r.procs {
		if other != id {
			r.kill(other, syscall.SIGKILL)
		}
	}
}

// lost takes the store away while something happens: its servers hang, or all of an embedded one's processes but
// one's are killed.
func (r *trio) lost(but string, meanwhile func()) {
	r.t.Helper()
	if r.cluster == nil {
		r.alone(but)
		meanwhile()
		r.voter()
		return
	}
	resume, err := r.cluster.Pause()
	lab.Must(r.t, err)
	meanwhile()
	lab.Must(r.t, resume())
}

// commandEnds waits until no process of a command's runs.
func (r *trio) commandEnds(now span) {
	r.t.Helper()
	r.eventually("the command has ended", func() bool { state, _ := r.state(now.pid); return state == "" || state == "Z" })
}

var stalls = map[string][]stall{
	"active": {
		{name: "crash", inject: func(r *trio, now span, _ string) { r.kill(now.id, syscall.SIGKILL) }},
		{name: "hang", inject: func(r *trio, now span, _ string) { r.sicken(now.id); r.ended(now.id) }},
		{name: "stopped wrapper", inject: func(r *trio, now span, _ string) { r.ends(now.id, syscall.SIGSTOP) }},
		{name: "trace", inject: func(r *trio, now span, _ string) { r.ends(now.id, syscall.SIGQUIT) }},
		{name: "SIGTERM", inject: func(r *trio, now span, _ string) { r.told(now.id) }},
		{name: "handoff", inject: func(r *trio, _ span, _ string) { r.handoff() }},
		{name: "loss of the store", inject: func(r *trio, now span, _ string) {
			r.lost(now.id, func() { r.commandEnds(now) })
		}},
	},
	"standby": {
		{name: "crash", inject: func(r *trio, _ span, standby string) { r.kill(standby, syscall.SIGKILL) }, stays: true},
		{name: "hang", inject: func(r *trio, _ span, standby string) { r.sicken(standby); r.ended(standby) }, stays: true},
		{name: "stopped wrapper", inject: func(r *trio, _ span, standby string) { r.ends(standby, syscall.SIGSTOP) }, stays: true},
		{name: "trace", inject: func(r *trio, _ span, standby string) { r.ends(standby, syscall.SIGQUIT) }, stays: true},
		{name: "SIGTERM", inject: func(r *trio, _ span, standby string) { r.told(standby) }, stays: true},
		{name: "handoff", inject: func(r *trio, _ span, standby string) { r.handoff(standby) }},
		{name: "loss of the store", inject: func(r *trio, now span, standby string) {
			r.lost(standby, func() {
				if r.cluster != nil {
					r.commandEnds(now)
				}
			})
		}},
	},
	"witness": {
		{name: "crash", inject: func(r *trio, now span, _ string) {
			before := r.witness(now.id)
			r.send(before, syscall.SIGKILL)
			r.eventually("another witness is there", func() bool { pid := r.witness(now.id); return pid != 0 && pid != before })
			r.ends(now.id, syscall.SIGSTOP)
		}},
		{name: "hang", inject: func(r *trio, now span, _ string) {
			r.stopping(r.witness(now.id), func() { r.kill(now.id, syscall.SIGKILL); r.commandEnds(now); r.active(now.token) })
		}},
		{name: "stopped wrapper", inject: func(r *trio, now span, _ string) { r.unguard(now, syscall.SIGSTOP, 0) }},
		{name: "SIGTERM, trace", inject: func(r *trio, now span, _ string) {
			before := r.witness(now.id)
			r.send(before, syscall.SIGTERM)
			r.send(before, syscall.SIGQUIT)
			r.ends(now.id, syscall.SIGSTOP)
		}},
		{name: "handoff", inject: func(r *trio, now span, _ string) {
			r.stopping(r.witness(now.id), func() { r.handoff(); r.active(now.token) })
		}},
		{name: "loss of the store", inject: func(r *trio, now span, _ string) {
			r.lost(now.id, func() { r.kill(now.id, syscall.SIGKILL); r.commandEnds(now) })
			r.refill()
		}},
	},
	"voter": {
		{name: "crash", inject: func(r *trio, _ span, _ string) { r.kill("c", syscall.SIGKILL) }, stays: true},
		{name: "hang", inject: func(r *trio, _ span, _ string) {
			r.stopping(r.procs["c"].Process.Pid, func() { time.Sleep(r.ttl / 2) }) // so long does it hang
		}, stays: true},
		{name: "trace", inject: func(r *trio, _ span, _ string) { r.ends("c", syscall.SIGQUIT) }, stays: true},
		{name: "SIGTERM", inject: func(r *trio, _ span, _ string) { r.told("c") }, stays: true},
		{name: "handoff", inject: func(r *trio, now span, _ string) {
			r.stopping(r.procs["c"].Process.Pid, func() { r.handoff(); r.active(now.token) })
		}},
		{name: "loss of the quorum", inject: func(r *trio, _ span, _ string) { r.alone("c"); r.told("c"); r.refill() }},
	},
}
