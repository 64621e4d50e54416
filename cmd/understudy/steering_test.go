package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// labelled starts the wrappers, each with a label of its own.
func (r *trio) labelled() (now span) {
	r.t.Helper()
	for _, id := range r.ids {
		if r.procs[id] == nil {
			r.start(id, "--label", "zone="+id)
		}
	}
	return r.settled()
}

// shows waits until status says something, and returns all that it says.
func (r *trio) shows(text string) (all string) {
	r.t.Helper()
	r.eventually("status says "+text, func() bool {
		_, all = r.operate("status", "--role", "r")
		return strings.Contains(all, text)
	})
	return all
}

// shownFlags are those of the store as a command shows them.
func (r *trio) shownFlags() string {
	var all []string
	for _, f := range r.flags {
		all = append(all, word(f))
	}
	return strings.Join(all, " ")
}

// TestPause: nobody takes a paused role over, though its active dies, until it is resumed.
func TestPause(t *testing.T) { onEveryStore(t, testPause) }

func testPause(t *testing.T, r *trio) {
	now := r.labelled()
	r.expect(cli.Usage, `until "2020-01-01T00:00:00Z": is in the past`, "pause", "--role", "r", "--until", "2020-01-01T00:00:00Z")
	r.expect(cli.Usage, `until "-5m": is neither a time`, "pause", "--role", "r", "--until", "-5m")
	r.expect(cli.Usage, "why: has the unprintable character", "pause", "--role", "r", "--why", "\x1b[31m")
	r.expect(cli.Usage, "role: none is given", "pause")
	r.expect(cli.NotDone, `role "x": nobody has taken part in it; the store has r`, "pause", "--role", "x")
	r.expect(cli.NotDone, `role "x": nobody has taken part in it; the store has r`, "resume", "--role", "x")
	r.expect(cli.NotDone, `role "r": is not paused`, "resume", "--role", "r")

	r.expect(0, now.id+" works on", "pause", "--role", "r", "--why", "a new disk", "--wait")
	r.expect(0, " (a new disk): nobody takes over\n", "status", "--role", "r")
	r.expect(0, `"why": "a new disk",`, "status", "--role", "r", "-o", "json")
	r.expect(cli.NotDone, "first run: understudy resume --role r", "handoff", "--role", "r")
	r.expect(cli.NotDone, "first run: understudy resume --role r", "step-down", "--role", "r")
	r.expect(0, "put that one back with: understudy pause --role r --why 'a new disk' "+r.shownFlags()+"\n", "pause", "--role", "r")
	r.kill(now.id, syscall.SIGKILL)
	r.shows("nobody is active")
	for _, id := range r.others(now.id) {
		r.logged(id, "to=paused")
	}
	if all := r.shows("nobody is active"); !strings.Contains(all, "nobody takes over") {
		t.Errorf("somebody may take over:\n%s", all)
	}
	r.expect(0, " is active, token ", "resume", "--role", "r", "--wait")
	next := r.active(now.token)
	now = r.labelled()

	r.expect(0, "r: nobody is active", "pause", "--role", "r", "--stop", "--wait")
	r.expect(cli.NotDone, "nobody is active", "status", "--role", "r")
	r.expect(0, "undo it with: understudy pause --role r --stop "+r.shownFlags()+"\n", "resume", "--role", "r")
	next = r.active(max(now.token, next.token))
	r.expect(0, "r: nobody is active", "pause", "--role", "r", "--stop", "--until", "3s", "--wait")
	r.active(next.token) // by itself
	r.expect(0, "role r\nID ", "status", "--role", "r")
	r.finish()
}

// logged waits until a wrapper has logged something.
func (r *trio) logged(id, text string) {
	r.t.Helper()
	r.eventually(id+" logs "+text, func() bool { return strings.Contains(r.log(id), text) })
}

// TestDrain: who is drained hands over and takes nothing, also after a restart, until that is undone.
func TestDrain(t *testing.T) { onEveryStore(t, testDrain) }

func testDrain(t *testing.T, r *trio) {
	now := r.labelled()
	r.expect(cli.NotDone, `id "z": is neither active nor standing by in any role; if the ID is right, and will be used later, give --force`, "drain", "--id", "z")
	r.expect(cli.Usage, "id: none is given; write --id ID, or set UNDERSTUDY_ID", "drain")
	r.expect(cli.NotDone, `id "z": is not drained`, "drain", "--id", "z", "--undo", "--force")
	r.expect(0, "undo it with: understudy drain --id z --undo", "drain", "--id", "z", "--force")
	r.expect(0, "z is back in line; it was drained by ", "drain", "--id", "z", "--undo")

	r.expect(0, "undo it with: understudy drain --id "+now.id+" --undo "+r.shownFlags()+"\n", "drain", "--id", now.id, "--wait")
	next := r.active(now.token)
	if next.id == now.id {
		t.Errorf("%s is drained and active", now.id)
	}
	drained := r.settings(now.id)
	r.expect(0, "undo it with", "priority", "--id", now.id, "--role", "r", "5")
	r.expect(0, "has its own priority", "priority", "--id", now.id, "--role", "r", "--undo")
	if set := r.settings(now.id); set.By != drained.By || !set.At.Equal(drained.At) {
		t.Errorf("drained by %s at %v; after its priority was set and unset, by %s at %v", drained.By, drained.At, set.By, set.At)
	}
	r.kill(now.id, syscall.SIGTERM)
	r.labelled()
	r.shows("standby 1, drained by ") // last in line
	r.expect(cli.NotDone, now.id+" is drained by ", "handoff", "--role", "r", "--to", now.id)
	r.expect(cli.NotDone, now.id+" is drained by ", "handoff", "--role", "r", "--selector", "zone="+now.id)
	other := r.others(next.id)
	if other[0] == now.id {
		other = other[1:]
	}
	r.kill(other[0], syscall.SIGTERM)
	r.inLine(1)
	r.expect(cli.NotDone, "to stop "+next.id+" without a successor: understudy pause --role r --stop", "step-down", "--role", "r")
	r.expect(0, now.id+" is back in line", "drain", "--id", now.id, "--undo", "--wait")
	r.expect(0, "r: "+next.id+" -> "+now.id, "step-down", "--role", "r", "--wait")
	r.labelled()
	r.finish()
}

// settings are what operators have set for a contender.
func (r *trio) settings(id string) lock.Settings {
	r.t.Helper()
	ctx := lab.Within(r.t, lab.Patience)
	l, err := backends.Dial(ctx, r.store)
	lab.Must(r.t, err)
	defer l.Close()
	all, err := l.(lock.Operator).Configured(ctx)
	lab.Must(r.t, err)
	return all[id]
}

// TestPriority: the line stands by what an operator has set, and a handoff goes to the first, or by labels.
func TestPriority(t *testing.T) { onEveryStore(t, testPriority) }

func testPriority(t *testing.T, r *trio) {
	now := r.labelled()
	last := r.others(now.id)[1]
	r.expect(cli.Usage, "priority: missing; write a number, or --undo", "priority", "--id", last, "--role", "r")
	r.expect(cli.Usage, `priority "5000000000": must be a number from -268435456 to 268435456`, "priority", "--id", last, "--role", "r", "5000000000")
	r.expect(cli.Usage, `priority "x": must be a number`, "priority", "--id", last, "--role", "r", "x")
	r.expect(cli.NotDone, `id "z": is neither active nor standing by in role "r"`, "priority", "--id", "z", "--role", "r", "5")
	r.expect(cli.NotDone, "no priority is set for it", "priority", "--id", last, "--role", "r", "--undo")
	for _, id := range r.others(now.id) {
		r.expect(0, "undo it with: understudy priority --id "+id+" --role r --undo "+r.shownFlags(), "priority", "--id", id, "--role", "r", "5", "--wait")
		r.expect(0, "undo it with: understudy priority --id "+id+" --role r "+r.shownFlags()+" -- 5", "priority", "--id", id, "--role", "r", "--undo")
	}
	r.expect(0, last+" has priority 7 in r", "priority", "--id", last, "--role", "r", "--wait", "7")
	r.kill(last, syscall.SIGTERM)
	r.labelled()
	r.expect(0, "priority 7 set by ", "status", "--role", "r")
	r.expect(0, "r: "+now.id+" -> "+last, "handoff", "--role", "r")
	r.inLine(2)
	r.expect(cli.Usage, "to and selector: give one of them", "handoff", "--role", "r", "--to", now.id, "--selector", "zone=a")
	r.expect(cli.Usage, `selector "zone": "zone" is not a label; write KEY=VALUE`, "handoff", "--role", "r", "--selector", "zone")
	r.expect(cli.NotDone, "selector: no standby has these labels", "handoff", "--role", "r", "--selector", "zone=x")
	r.expect(0, "r: "+last+" -> "+now.id, "handoff", "--role", "r", "--selector", "zone="+now.id)
	// From now.id alone, and to neither last nor itself: so to the third.
	third := r.others(now.id)[0]
	r.expect(0, "r: "+last+" is not active, and has nothing to hand over", "handoff", "--role", "r", "--from", last)
	r.expect(0, "r: "+now.id+" -> "+third, "handoff", "--role", "r", "--from", now.id, "--selector", "zone!="+last)
	r.inLine(2)
	r.expect(0, "undo it, once that is done, with: understudy handoff --role r --to "+third, "step-down", "--role", "r")
	r.active(now.token + 3)
	r.finish()
}

// TestParseUntil reads times and durations, and nothing that has passed.
func TestParseUntil(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "30m": now.Add(30 * time.Minute), "2026-05-01T14:00:01+02:00": now.Add(time.Second),
	} {
		if at, err := parseUntil(text, now); err != nil || !at.Equal(want) {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
	for _, text := range []string{"2026-05-01T12:00:00Z", "0s", "-1h", "30", "noon"} {
		if at, err := parseUntil(text, now); err == nil {
			t.Errorf("%q: %v", text, at)
		}
	}
}

// TestPauseDuringAHandoff: a pause that comes while the active's work stops for a handoff does not say
// that it works on. Nobody is active then until the role is resumed.
func TestPauseDuringAHandoff(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = 4 * time.Second
	r.command = []string{"sh", "-c", `trap "sleep 3; exit 0" TERM; ` + os.Args[0] + " & while :; do wait; done"}
	r.startAll()
	now := r.settled()
	r.expect(0, "is asked to hand over", "step-down", "--role", "r")
	r.logged(now.id, "to=draining") // the standby has answered
	r.expect(0, now.id+" may have stopped for a handoff", "pause", "--role", "r")
	r.shows("nobody is active")
	r.expect(0, " is active, token ", "resume", "--role", "r", "--wait")
}
