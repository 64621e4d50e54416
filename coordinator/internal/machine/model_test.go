package machine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// The protocol's oracle. Two or three real machines run against the real ledger;
// a world stands in for the loop, the network and the clocks. One tick of time is
// a time.Duration of 1. Everything that can happen is a label; see
// model_labels_test.go. What is judged is in model_judge_test.go.

// theRole is the only role of a world.
const theRole = "r"

// options are the bounds of a world and what may happen in it.
type options struct {
	n, m, depth      int // processes, messages in flight per process, labels per walk
	ttl, skew, grace time.Duration
	beat             time.Duration
	janitor          bool // the record of a living session may be deleted
	drift            bool // clocks may miss or double one tick per promise
	nocrash          bool
	norelease        bool // nobody stops and no work returns by itself
	nohandoff        bool
	pauses, fences   bool   // an operator may pause the role; every process has a fence command
	noghost          bool   // nobody sees that a process is dead
	only             string // the one judgement that counts; empty: all
}

func (o options) rules(nonce string) Rules {
	return Rules{
		Nonce: nonce, TTL: o.ttl, Skew: o.skew, Grace: o.grace,
		StopTimeout: 6, BeatEvery: o.beat, IdleEvery: max(o.beat, o.ttl-1), HedgeFirst: 1, HedgeCalm: 1, HedgeNext: 1, Retry: 1, Turn: 1,
		HoldFirst: 1, HoldMost: 4, CloseFor: 6, Fences: o.fences,
	}
}

// A world is everything at one moment.
type world struct {
	options
	rev     uint64
	ledger  *ledger.Ledger
	procs   []*proc
	started lock.Token // the greatest under which work was started
	settled bool       // nothing was lost or late for a promise
	fencers fencers
	fault   string // the first violation
	log     func(format string, args ...any)
}

// A proc is one process, and what is on its way to and from it.
type proc struct {
	name       string
	up         bool
	life       int // 1, 2, ... : which start of the process this is
	machine    *Machine
	clock      time.Duration
	cool       time.Duration // ticks until the clock may drift again
	registered bool
	standing   *lock.Standing // captured, not yet seen
	work       work
	count      uint64 // of acknowledged beats: what a client that counted would write
	msgs       []message
	commands   []Fence                    // that run
	heard      map[lock.SessionID]hearing // for the judge
	kept       bool                       // from the role by a pause, as was shown last: for the judge
}

type work struct {
	running bool
	token   lock.Token
	number  int
	told    bool
}

// A message is a call to the store under way.
type message struct {
	cmd     ledger.Command
	number  int            // of the registration that it was made for
	session lock.SessionID // to be evicted
	at      Instant        // when it was sent
	state   progress
	waiting bool // the machine has not heard of its outcome
	result  ledger.Result
}

type progress uint8

const (
	asked   progress = iota // may still commit
	replied                 // committed; the reply is on its way
	dropped                 // nothing will come of it
)

func newWorld(o options) *world {
	w := &world{options: o, ledger: ledger.New()}
	for i := range o.n {
		p := &proc{name: string(rune('a' + i)), clock: 100}
		w.procs = append(w.procs, p)
		w.restart(p)
	}
	return w
}

func (w *world) clone() *world {
	c := *w
	c.log = nil
	l := *w.ledger
	l.Sessions, l.Claims = maps.Clone(l.Sessions), maps.Clone(l.Claims)
	l.Roles, l.Ended = maps.Clone(l.Roles), maps.Clone(l.Ended)
	l.Swept, l.Paused, l.Fences, c.fencers = slices.Clone(l.Swept), maps.Clone(l.Paused), maps.Clone(l.Fences), maps.Clone(w.fencers)
	c.ledger, c.procs = &l, make([]*proc, len(w.procs))
	for i, p := range w.procs {
		q, m := *p, *p.machine
		m.roles, m.sights, m.line, m.holds = maps.Clone(m.roles), maps.Clone(m.sights), maps.Clone(m.line), maps.Clone(m.holds)
		m.changed = slices.Clone(m.changed)
		q.machine, q.msgs, q.heard, q.commands = &m, slices.Clone(p.msgs), maps.Clone(p.heard), slices.Clone(p.commands)
		c.procs[i] = &q
	}
	return &c
}

func (w *world) note(format string, args ...any) {
	if w.log != nil {
		w.log(format, args...)
	}
}

func (p *proc) now() Instant { return Instant{p.clock, p.clock, p.clock} }

func (p *proc) nonce() string { return fmt.Sprintf("%s%d", p.name, p.life) }

// living reports whether the process that registered the session is still up.
func (w *world) living(id lock.SessionID) bool {
	nonce, _, _ := strings.Cut(string(id), "-")
	for _, p := range w.procs {
		if p.up && nonce == p.nonce() {
			return true
		}
	}
	return false
}

// restart begins a new life of the process, under the same contender's ID.
func (w *world) restart(p *proc) {
	p.life++
	p.up, p.kept = true, false
	p.machine = New(w.rules(p.nonce()), theRole)
	p.heard = map[lock.SessionID]hearing{}
}

// crash ends the process. What it sent may still commit.
func (w *world) crash(p *proc) {
	p.up, p.registered, p.work, p.standing, p.count, p.commands = false, false, work{}, nil, 0, nil
	for i := range p.msgs {
		p.msgs[i].waiting = false
	}
	p.sweep()
}

// sweep forgets the messages that can have no more effect.
func (p *proc) sweep() {
	p.msgs = slices.DeleteFunc(p.msgs, func(m message) bool { return !m.waiting && m.state != asked })
}

// step lets the machine of a living process see an event, and does what it says.
func (w *world) step(p *proc, e Event) {
	if !p.up {
		return
	}
	w.hear(p, e)
	do := p.machine.Step(p.now(), e)
	if err := p.machine.check(); err != nil {
		w.violate("state: %s after %T: %v", p.name, e, err)
	}
	for _, a := range do {
		w.note("        %s: %s", p.name, actionText(a))
		w.judgeAction(p, a)
		if w.perform(p, a); !p.up {
			return
		}
	}
	w.judgeProcess(p)
	if p.machine.Over() {
		w.crash(p)
	}
}

func (w *world) perform(p *proc, a Action) {
	switch a := a.(type) {
	case Start:
		p.work = work{running: true, token: a.Token, number: a.Number}
		w.started = max(w.started, a.Token)
	case Cancel:
		p.work.told = true
	case Exit:
		w.crash(p)
	case Fail:
	case Fence:
		p.commands = append(p.commands, a)
	default:
		w.send(p, a)
	}
}

// send puts a call on its way, as package ledger's Locker makes it. Where too
// many are under way it is lost at once.
func (w *world) send(p *proc, a Action) {
	m := message{waiting: true, at: p.now()}
	m.cmd, m.number = w.command(p, a)
	if m.cmd.Session == "" {
		m.cmd.Session = p.machine.ID(m.number)
	}
	if e, evicts := a.(Evict); evicts {
		m.session = e.Session
	}
	if m.cmd.Op == ledger.Register {
		m.cmd.Contender.Session = m.cmd.Session
	}
	flying := 0
	for _, o := range p.msgs {
		if o.state != dropped {
			flying++
		}
	}
	if flying >= w.m {
		m.state = dropped
	}
	p.msgs = append(p.msgs, m)
}

// command is what an action asks of the store, and for which registration.
func (w *world) command(p *proc, a Action) (ledger.Command, int) {
	switch a := a.(type) {
	case Register:
		p.count = 1
		return ledger.Command{
			Op: ledger.Register, Contender: lock.Contender{ID: p.name},
			Promise: lock.Promise{TTL: w.ttl, Skew: w.skew}, Bids: []lock.Bid{{Role: theRole}},
		}, a.Number
	case Beat: // the token is ignored by a store that is right
		return ledger.Command{Op: ledger.Beat, Token: lock.Token(p.count + 1)}, a.Number
	case Close:
		return ledger.Command{Op: ledger.Close, End: lock.End{By: p.name, Why: "closed"}}, a.Number
	case Evict:
		return ledger.Command{Op: ledger.Evict, Session: a.Session, Seen: a.Beat, End: lock.End{By: p.name, Why: "silent"}}, 0
	case Acquire:
		return ledger.Command{Op: ledger.Acquire, Role: a.Role, Token: w.ledger.Roles[theRole].Term.Token}, a.Number
	case Release:
		return ledger.Command{Op: ledger.Release, Role: a.Role, Token: a.Token}, a.Number
	case Handoff:
		return ledger.Command{Op: ledger.Handoff, Role: a.Role, Token: a.Token, To: a.To}, a.Number
	}
	return w.intent(p, a.(Intend)), 0
}

// commit lets the store do what message i asks.
func (w *world) commit(p *proc, i int) {
	m := &p.msgs[i]
	w.rev++
	before := w.ledger.Roles[theRole].Term.Token
	m.result, m.state = w.ledger.Apply(w.rev, m.cmd), replied
	w.note("        store: %d %s", w.rev, resultText(m.result))
	w.judgeCommit(m.cmd, m.result, before)
	w.judgeEviction(m.cmd, m.result)
	w.judgeIntent(m.cmd, m.result)
	p.sweep()
}

// answer gives the machine the outcome of message i: the reply, or that there is
// none.
func (w *world) answer(p *proc, i int, giveUp bool) {
	m := p.msgs[i]
	p.msgs[i].waiting = false
	p.sweep()
	o := lock.Unknown
	if !giveUp {
		o = outcomes[m.result.Code]
	}
	if o == lock.OK && m.cmd.Op == ledger.Beat {
		p.count = max(p.count, uint64(m.cmd.Token))
	}
	if o == lock.OK && m.cmd.Op == ledger.Register {
		p.registered = true
	}
	w.step(p, w.answerTo(p, m, o))
}

// answerTo is the event that reports the outcome of a call.
func (w *world) answerTo(p *proc, m message, o lock.Outcome) Event {
	switch m.cmd.Op {
	case ledger.Register:
		e := Registered{Number: m.number, At: p.now(), Outcome: o}
		if h := m.result.Held; h != nil && o == lock.Held {
			e.Holder, e.Dead = h.Holder, !w.noghost && !w.living(h.Holder.Session)
		}
		return e
	case ledger.Beat:
		return Beaten{m.number, m.at, o}
	case ledger.Close:
		return Closed{m.number, o}
	case ledger.Evict:
		return Evicted{m.session, o}
	case ledger.Fence:
		return Intended{m.cmd.To, m.cmd.Fence.Beat, o}
	case ledger.Acquire:
		return Acquired{m.cmd.Role, m.number, o, m.result.Token}
	case ledger.Release:
		return Released{m.cmd.Role, m.number, o}
	}
	return HandedOff{m.cmd.Role, m.number, o}
}

// see shows the process the standing that was captured for it.
func (w *world) see(p *proc) {
	st := *p.standing
	p.standing = nil
	w.step(p, Stood{p.now(), st})
}

func (w *world) capture(p *proc) {
	st := w.ledger.Standing(theRole)
	p.standing = &st
}

// dead returns a session of an earlier life of p that has not ended, if any: the
// witness's to end.
func (w *world) dead(p *proc) lock.SessionID {
	id := w.ledger.Claims[p.name]
	if id == "" {
		t := w.ledger.Standing(theRole).Term
		if t.Vacant() || !strings.HasPrefix(string(t.Holder.Session), p.name) {
			return ""
		}
		id = t.Holder.Session
	}
	if w.living(id) {
		return ""
	}
	return id
}

// witness ends that session on the beat found in the store.
func (w *world) witness(p *proc) {
	id := w.dead(p)
	w.rev++
	w.ledger.Apply(w.rev, ledger.Command{
		Op: ledger.Evict, Session: id, Seen: w.ledger.Sessions[id].Beat, End: lock.End{By: "witness", Why: "dead"},
	})
}

// remove deletes the record of p's session, as a janitor that is wrong would.
func (w *world) remove(p *proc) {
	delete(w.ledger.Sessions, w.ledger.Claims[p.name])
	delete(w.ledger.Claims, p.name)
}

// ask writes the wish that the term goes to p's session, and the answer, which no process need
// live to see heeded.
func (w *world) ask(p *proc) {
	r := lock.Request{Token: w.ledger.Roles[theRole].Term.Token, To: w.ledger.Claims[p.name], By: "operator"}
	for _, r.Answered = range []bool{false, true} {
		w.rev++
		w.ledger.Apply(w.rev, ledger.Command{Op: ledger.Ask, Role: theRole, Request: r})
	}
}

// workEnds lets the work return.
func (w *world) workEnds(p *proc, how Return) {
	e := Returned{theRole, p.work.number, how}
	if p.work.told {
		e.How = Cancelled
	}
	p.work.running = false
	w.step(p, e)
}

// tick lets one unit of time pass, of which each process's clock shows its rate.
func (w *world) tick(rates [3]uint8) {
	for i, p := range w.procs {
		p.clock += time.Duration(rates[i])
		p.cool = max(p.cool-1, 0)
		if rates[i] != 1 {
			p.cool = w.ttl + w.skew
		}
	}
}
