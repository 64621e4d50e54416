package machine

import (
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// A label is one thing that can happen in a world. Its text picks it out again,
// such as "commit a beat 1": the second oldest beat of process a.
type label struct {
	verb string
	p    int
	op   ledger.Op // of a message
	i    int       // which of p's messages with that op, the oldest first
	rate [3]uint8  // of the clocks, for a tick
}

// What can happen, and how often a walk picks it.
var weights = map[string]int{
	"tick":    60, // time passes
	"wake":    40, // p has its turn
	"commit":  80, // the store does what a message asks
	"reply":   80, // its outcome arrives
	"giveup":  30, // p waits no longer for it
	"lose":    20, // the message, or its reply, is lost
	"reread":  10, // an acquire reads the term again before it is sent
	"capture": 40, // the store says how things stand
	"see":     60, // and p hears of it
	"calm":    30, // everything of p's arrives, and it has its turn
	"done":    1,  // p's work is done for good
	"failed":  4,  // p's work fails
	"return":  40, // p's work returns because it was told to
	"stop":    3,  // p is asked to stop
	"crash":   6,
	"restart": 50,
	"witness": 15, // a dead session is ended
	"delete":  8,  // the janitor deletes p's record
	"ask":     8,  // an operator wants p to have the role
	"pause":   3,  // an operator pauses the role
	"resume":  20,
	"fenced":  15, // p's oldest fence command has killed a process, and says so
	"spared":  10, // p's oldest fence command fails
}

func (l label) String() string {
	switch {
	case l.verb == "tick" && l.rate != [3]uint8{1, 1, 1}:
		return fmt.Sprintf("tick %d %d %d", l.rate[0], l.rate[1], l.rate[2])
	case l.verb == "tick":
		return "tick"
	case l.op != "" && l.i > 0:
		return fmt.Sprintf("%s %c %s %d", l.verb, 'a'+l.p, l.op, l.i)
	case l.op != "":
		return fmt.Sprintf("%s %c %s", l.verb, 'a'+l.p, l.op)
	}
	return fmt.Sprintf("%s %c", l.verb, 'a'+l.p)
}

func parseLabel(text string) (label, error) {
	f := strings.Fields(text)
	if len(f) == 0 || weights[f[0]] == 0 {
		return label{}, fmt.Errorf("no such label: %q", text)
	}
	l := label{verb: f[0]}
	if l.verb == "tick" {
		l.rate = [3]uint8{1, 1, 1}
		for i := range min(len(f)-1, 3) {
			_, _ = fmt.Sscan(f[i+1], &l.rate[i])
		}
		return l, nil
	}
	if len(f) < 2 || len(f[1]) != 1 {
		return label{}, fmt.Errorf("no process: %q", text)
	}
	l.p = int(f[1][0] - 'a')
	if len(f) > 2 {
		l.op = ledger.Op(f[2])
	}
	if len(f) > 3 {
		_, _ = fmt.Sscan(f[3], &l.i)
	}
	return l, nil
}

// find returns the index of the message that l names, or -1.
func (p *proc) find(l label) int {
	n := l.i
	for i, m := range p.msgs {
		if m.cmd.Op != l.op {
			continue
		}
		if n == 0 {
			return i
		}
		n--
	}
	return -1
}

// possible reports whether l can happen now.
func (w *world) possible(l label) bool {
	if l.verb == "tick" {
		return w.tickable(l.rate)
	}
	if l.p >= len(w.procs) {
		return false
	}
	p := w.procs[l.p]
	if l.op != "" {
		i := p.find(l)
		return i >= 0 && messageCan(l.verb, p.msgs[i])
	}
	switch l.verb {
	case "wake", "calm":
		return p.up
	case "capture":
		return p.registered && p.standing == nil
	case "see":
		return p.registered && p.standing != nil
	case "done", "failed":
		return p.work.running && !w.norelease && !p.work.told
	case "return":
		return p.work.running && p.work.told
	case "stop":
		return p.up && !w.norelease && !p.machine.session.stopping
	case "crash":
		return p.up && !w.nocrash
	case "restart":
		return !p.up
	case "witness":
		return !w.noghost && w.dead(p) != ""
	case "delete":
		return w.janitor && w.ledger.Claims[p.name] != ""
	case "pause", "resume": // of one operator, named for the first process
		return w.pauses && l.p == 0 && w.paused() == (l.verb == "resume")
	case "fenced", "spared":
		return len(p.commands) > 0
	case "ask":
		return !w.nohandoff && w.ledger.Claims[p.name] != "" && w.ledger.Roles[theRole].Term.Token != 0
	}
	return false
}

func (w *world) tickable(rates [3]uint8) bool {
	for i, p := range w.procs {
		if r := rates[i]; r != 1 && (!w.drift || p.cool > 0 || r > 2) {
			return false
		}
	}
	return true
}

func messageCan(verb string, m message) bool {
	switch verb {
	case "commit":
		return m.state == asked
	case "reread":
		return m.state == asked && m.cmd.Op == ledger.Acquire
	case "reply":
		return m.state == replied && m.waiting
	case "giveup":
		return m.waiting
	case "lose":
		return m.state != dropped
	}
	return false
}

// do lets l happen, and judges.
func (w *world) do(l label) {
	if l.verb == "tick" {
		w.tick(l.rate)
		w.judge()
		return
	}
	p := w.procs[l.p]
	if l.op != "" {
		w.doMessage(p, l.verb, p.find(l))
		w.judge()
		return
	}
	switch l.verb {
	case "wake":
		w.step(p, Tick{})
	case "calm":
		w.calm(p)
	case "capture":
		w.capture(p)
	case "see":
		w.see(p)
	case "done":
		w.workEnds(p, Done)
	case "failed":
		w.workEnds(p, Failed)
	case "return":
		w.workEnds(p, Cancelled)
	case "stop":
		w.step(p, Stop{})
	case "crash":
		w.crash(p)
	case "restart":
		w.restart(p)
	case "witness":
		w.witness(p)
	case "delete":
		w.remove(p)
	case "pause", "resume":
		w.pause(l.verb == "pause")
	case "fenced", "spared":
		w.fence(p, l.verb == "fenced")
	case "ask":
		w.ask(p)
	}
	w.judge()
}

func (w *world) paused() bool { return !w.ledger.Paused[theRole].IsZero() }

// pause pauses the role, or resumes it.
func (w *world) pause(is bool) {
	c := ledger.Command{Op: ledger.Pause, Role: theRole}
	if is {
		c.Pause.By = "operator"
	}
	w.rev++
	w.ledger.Apply(w.rev, c)
}

func (w *world) doMessage(p *proc, verb string, i int) {
	switch verb {
	case "commit":
		w.commit(p, i)
	case "reread":
		p.msgs[i].cmd.Token = w.ledger.Roles[theRole].Term.Token
	case "reply":
		w.answer(p, i, false)
	case "giveup":
		w.answer(p, i, true)
	case "lose":
		p.msgs[i].state = dropped
		p.sweep()
	}
}

// labels appends everything that can happen now.
func (w *world) labels(all []label) []label {
	all = w.ticks(all)
	for i, p := range w.procs {
		for _, verb := range plainVerbs {
			if l := (label{verb: verb, p: i}); w.possible(l) {
				all = append(all, l)
			}
		}
		seen := map[ledger.Op]int{}
		for _, m := range p.msgs {
			for _, verb := range messageVerbs {
				if messageCan(verb, m) {
					all = append(all, label{verb: verb, p: i, op: m.cmd.Op, i: seen[m.cmd.Op]})
				}
			}
			seen[m.cmd.Op]++
		}
	}
	return all
}

var (
	plainVerbs = []string{
		"wake", "calm", "capture", "see", "done", "failed", "return",
		"stop", "crash", "restart", "witness", "delete", "ask", "pause", "resume", "fenced", "spared",
	}
	messageVerbs = []string{"commit", "reread", "reply", "giveup", "lose"}
)

// ticks appends the ways in which time can pass: of one clock at most drifts.
func (w *world) ticks(all []label) []label {
	even := label{verb: "tick", rate: [3]uint8{1, 1, 1}}
	all = append(all, even)
	if !w.drift {
		return all
	}
	for i, p := range w.procs {
		for _, r := range []uint8{0, 2} {
			if p.cool == 0 {
				l := even
				l.rate[i] = r
				all = append(all, l)
			}
		}
	}
	return all
}

func actionText(a Action) string {
	switch a := a.(type) {
	case Evict:
		return fmt.Sprintf("evict %s at beat %d", a.Session, a.Beat)
	case Intend:
		return fmt.Sprintf("intend to fence %s at beat %d", a.Session, a.Beat)
	case Fence:
		return fmt.Sprintf("fence %s at beat %d", a.Session, a.Beat)
	case Handoff:
		return fmt.Sprintf("handoff %d to %s", a.Token, a.To)
	case Release:
		return fmt.Sprintf("release %d", a.Token)
	case Start:
		return fmt.Sprintf("start work under %d", a.Token)
	case Cancel:
		return "cancel work: " + a.Cause.Error()
	case Exit:
		return fmt.Sprintf("exit: work under %d outlived its time", a.Token)
	}
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", a), "machine."))
}

func resultText(r ledger.Result) string {
	if r.Code != ledger.OK {
		return string(r.Code)
	}
	if r.Token != 0 {
		return fmt.Sprintf("token %d", r.Token)
	}
	return "ok"
}
