package coordinator

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
	noghost          bool   // nobody sees that a process is dead
	only             string // the one judgement that counts; empty: all
}

func (o options) rules(nonce string) rules {
	return rules{
		nonce: nonce, ttl: o.ttl, skew: o.skew, grace: o.grace,
		stopTimeout: 6, beatEvery: o.beat, hedgeFirst: 1, hedgeNext: 1, retry: 1, turn: 1,
		holdFirst: 1, holdMost: 4, closeFor: 6,
	}
}

// A world is everything at one moment.
type world struct {
	options
	rev     uint64
	ledger  *ledger.Ledger
	procs   []*proc
	started lock.Token // the greatest under which work was started
	fault   string     // the first violation
	log     func(format string, args ...any)
}

// A proc is one process, and what is on its way to and from it.
type proc struct {
	name       string
	up         bool
	life       int // 1, 2, ... : which start of the process this is
	machine    *machine
	clock      time.Duration
	cool       time.Duration // ticks until the clock may drift again
	registered bool
	standing   *lock.Standing // captured, not yet seen
	work       work
	count      uint64 // of acknowledged beats: what a client that counted would write
	msgs       []message
	heard      map[lock.SessionID]hearing // for the judge
}

type work struct {
	running bool
	token   lock.Token
	number  int
	told    bool
}

// A hearing is a beat, and when this process first received it.
type hearing struct {
	beat lock.Beat
	at   time.Duration
}

// A message is a call to the store under way.
type message struct {
	cmd     ledger.Command
	event   event
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
	l.Swept = slices.Clone(l.Swept)
	c.ledger, c.procs = &l, make([]*proc, len(w.procs))
	for i, p := range w.procs {
		q, m := *p, *p.machine
		m.roles, m.sights, m.line = maps.Clone(m.roles), maps.Clone(m.sights), maps.Clone(m.line)
		q.machine, q.msgs, q.heard = &m, slices.Clone(p.msgs), maps.Clone(p.heard)
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
	p.up = true
	p.machine = newMachine(w.rules(p.nonce()), []lock.Bid{{Role: theRole}})
	p.heard = map[lock.SessionID]hearing{}
}

// crash ends the process. What it sent may still commit.
func (w *world) crash(p *proc) {
	p.up, p.registered, p.work, p.standing, p.count = false, false, work{}, nil, 0
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
func (w *world) step(p *proc, e event) {
	if !p.up {
		return
	}
	w.hear(p, e)
	do, _ := p.machine.step(p.now(), e)
	for _, a := range do {
		w.note("        %s: %s", p.name, actionText(a))
		w.judgeAction(p, a)
		if w.perform(p, a); !p.up {
			return
		}
	}
	w.judgeProcess(p)
	if p.machine.over() {
		w.crash(p)
	}
}

func (w *world) perform(p *proc, a action) {
	switch a.do {
	case startWork:
		p.work = work{running: true, token: a.token, number: a.number}
		w.started = max(w.started, a.token)
	case cancelWork:
		p.work.told = true
	case exit:
		w.crash(p)
	case fail:
	default:
		w.send(p, a)
	}
}

var calls = map[verb]struct {
	op   ledger.Op
	kind kind
}{
	register: {ledger.Register, registered}, beat: {ledger.Beat, beaten},
	closeSession: {ledger.Close, closed}, evict: {ledger.Evict, evicted},
	acquire: {ledger.Acquire, acquired}, release: {ledger.Release, released},
	handoff: {ledger.Handoff, handed},
}

// send puts a call on its way, as package ledger's Locker makes it. Where too
// many are under way it is lost at once.
func (w *world) send(p *proc, a action) {
	m := message{waiting: true}
	m.event = event{kind: calls[a.do].kind, role: a.role, number: a.number, session: a.session, at: p.now()}
	id := p.machine.id(a.number)
	c := ledger.Command{Op: calls[a.do].op, Session: id, Role: a.role}
	switch a.do {
	case register:
		p.count = 1
		c.Contender = lock.Contender{ID: p.name, Session: id}
		c.Promise = lock.Promise{TTL: w.ttl, Skew: w.skew}
		c.Bids = []lock.Bid{{Role: theRole}}
	case beat:
		c.Token = lock.Token(p.count + 1) // ignored by a store that is right
	case closeSession:
		c.End = lock.End{By: p.name, Why: "closed"}
	case evict:
		c.Session, c.Seen, c.End = a.session, a.beat, lock.End{By: p.name, Why: "silent"}
	case acquire:
		c.Token = w.ledger.Roles[theRole].Term.Token
	case release:
		c.Token = a.token
	case handoff:
		c.Token, c.To = a.token, a.session
	}
	m.cmd = c
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

// commit lets the store do what message i asks.
func (w *world) commit(p *proc, i int) {
	m := &p.msgs[i]
	w.rev++
	before := w.ledger.Roles[theRole].Term.Token
	m.result, m.state = w.ledger.Apply(w.rev, m.cmd), replied
	w.note("        store: %d %s", w.rev, resultText(m.result))
	w.judgeCommit(m.cmd, m.result, before)
	p.sweep()
}

var outcomes = map[ledger.Code]outcome{
	ledger.OK: ok, ledger.Held: held, ledger.Lost: lost, ledger.Moved: moved, ledger.Gone: gone,
	ledger.Permanent: permanent,
}

// answer gives the machine the outcome of message i: the reply, or that there is
// none.
func (w *world) answer(p *proc, i int, giveUp bool) {
	m := p.msgs[i]
	p.msgs[i].waiting = false
	p.sweep()
	e := m.event
	if !giveUp {
		e.outcome, e.token = outcomes[m.result.Code], m.result.Token
		if h := m.result.Held; h != nil {
			e.holder = h.Holder
			e.dead = !w.noghost && !w.living(h.Holder.Session)
		}
		if e.kind == beaten && e.outcome == ok {
			p.count = max(p.count, uint64(m.cmd.Token))
		}
		if e.kind == registered && e.outcome == ok {
			p.registered = true
		}
	}
	if e.kind == registered {
		e.at = p.now()
	}
	w.step(p, e)
}

// see shows the process the standing that was captured for it.
func (w *world) see(p *proc) {
	st := *p.standing
	p.standing = nil
	w.step(p, event{kind: stood, role: theRole, at: p.now(), standing: st})
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

// ask writes the wish that the term goes to p's session.
func (w *world) ask(p *proc) {
	w.rev++
	r := lock.Request{Token: w.ledger.Roles[theRole].Term.Token, To: w.ledger.Claims[p.name], By: "operator"}
	w.ledger.Apply(w.rev, ledger.Command{Op: ledger.Ask, Role: theRole, Request: r})
}

// workEnds lets the work return.
func (w *world) workEnds(p *proc, how outcome) {
	e := event{kind: returned, role: theRole, number: p.work.number, outcome: how}
	if p.work.told {
		e.outcome = cancelled
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
