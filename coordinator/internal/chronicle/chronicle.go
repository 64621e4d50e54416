// Package chronicle collects what one process did and saw, as events for the history of a role,
// and keeps them until they are written. It asks no store and reads no clock.
package chronicle

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

// A Chronicle is that of one process. Its methods, except those of the Queue, belong to one
// goroutine.
type Chronicle struct {
	*Queue
	looked  machine.Instant // when the queued events were last due, or were queued; zero: none are
	id      string
	beat    time.Duration // how long the store may be away unmentioned
	roles   map[string]*role
	failing machine.Instant // the start of the first unanswered call since the last answer; zero: none
	away    gap             // the last outage that is over
	acked   machine.Instant // the latest start of an acknowledged beat
	words   error           // the store's error of the last of them
	outages *rate.Limiter   // limits the outages recorded: the history keeps few events, and moves matter more
}

// A gap is from the first call without an answer to the next answer.
type gap struct{ from, to machine.Instant }

// A role is what was seen of one role.
type role struct {
	former lock.Term       // the last term before ours
	lived  machine.Instant // when the former active's last sign of life was seen
	fenced machine.Instant // when somebody was first seen to set out to fence it; zero: nobody is
	fencer string          // the ID of who that was
	failed string          // why our own fence command did not succeed; empty: it did not run, or has
	ended  machine.Instant // when the former term was first seen to be over, or the role to be ours
	how    string          // why the former term ended, as first seen
	more   string          // its details
	paused string          // who had paused the role while it was free
	later  bool            // that was when this process first looked
	deaf   bool            // no beat of the former term was seen since then
	rolled bool            // the store had been put back to an earlier state while the role was free
	other  bool            // the store has no record of the former term: another one has been adopted
	wish   lock.Request    // the last one seen

	state                       machine.State
	asked, granted, began, told machine.Instant
	returned                    machine.Instant // when the work returned
	lapsed, back                machine.Instant // an outage that ended while the role was being given up
	token                       lock.Token
	cause, detail               string
}

// New returns the Chronicle of a contender. Outages of the store up to beat are not recorded.
func New(id string, beat time.Duration, roles ...string) *Chronicle {
	c := &Chronicle{
		Queue: NewQueue(4*len(roles) + 16), id: id, beat: beat, roles: map[string]*role{},
		outages: rate.NewLimiter(rate.Every(time.Minute), 3),
	}
	for _, name := range roles {
		c.roles[name] = &role{}
	}
	return c
}

// Stood takes in how a role stood at some time, as seen by the session me.
func (c *Chronicle) Stood(at machine.Instant, st lock.Standing, me lock.SessionID) {
	r, t := c.roles[st.Role], st.Term
	if r == nil {
		return
	}
	first := r.former.Token == 0 && r.ended.IsZero()
	if t.Token == 0 {
		switch {
		case first:
			r.ended = at
		case r.former.Token != 0 && !r.former.Vacant() && !r.other:
			r.other, r.ended, r.how, r.more = true, at, lock.CauseLost, history.OtherStore
		}
		return
	}
	r.other = false
	if st.Request.Token == t.Token && st.Request.To != "" {
		r.wish = st.Request
	}
	switch ours := t.Holder.Session == me; {
	case ours && !t.Vacant():
		if t.Token > r.former.Token && r.ended.IsZero() {
			r.ended = at
		}
		return
	case t.Vacant():
		if t.Token != r.former.Token {
			r.later = first
			r.lived, r.ended, r.fenced, r.failed = machine.Instant{}, machine.Instant{}, machine.Instant{}, ""
		}
		if r.ended.IsZero() {
			r.ended = at
			r.how, r.more = history.CauseOf(t) // a later record describes a later moment
			r.paused = ""
		}
		if !st.Pause.IsZero() {
			r.paused = st.Pause.By
		}
	case t.Token != r.former.Token || t.Holder.Beat != r.former.Holder.Beat && t.Holder.Beat != lock.Absent:
		r.lived, r.ended, r.fenced, r.failed = at, machine.Instant{}, machine.Instant{}, ""
		r.deaf, r.later = first, false
	default:
		r.ended = machine.Instant{}
	}
	if r.fenced.IsZero() && !st.Fence.IsZero() {
		r.fenced, r.fencer = at, st.Fence.By
	}
	r.former = t
}

// Unfenced notes that our own fence command did not succeed, and why.
func (c *Chronicle) Unfenced(name string, why error) { c.roles[name].failed = why.Error() }

// silence says more of a former active that was silent for its whole promise.
func (r *role) silence(id string) string {
	witness, fence := history.NoWitness, ""
	if r.former.Holder.Witness {
		witness = history.HadWitness
	}
	switch {
	case r.failed != "":
		fence = "the fence command of " + id + " did not succeed: " + r.failed
	case !r.fenced.IsZero():
		fence = "the fence command of " + r.fencer + " did not succeed: its log says why"
	}
	return history.Joined(r.more, witness, fence)
}

// Granted notes that the role was granted.
func (c *Chronicle) Granted(at machine.Instant, name string) { c.roles[name].granted = at }

// RolledBack notes that a role is not taken because the store gives tokens again that it gave before.
func (c *Chronicle) RolledBack(name string) { c.roles[name].rolled = true }

// Returned notes that the work of a role has returned.
func (c *Chronicle) Returned(at machine.Instant, name string) { c.roles[name].returned = at }

// A Move is a change of a role's state in this process.
type Move struct {
	Role   string
	To     machine.State
	Token  lock.Token
	Cause  string // why, of the history's words
	Detail string
	Wall   time.Time
}

// Moved takes in a change of a role's state. s is the role's last standing.
func (c *Chronicle) Moved(at machine.Instant, m Move, s lock.Standing) {
	r := c.roles[m.Role]
	from := r.state
	r.state = m.To
	switch m.To {
	case machine.StateActivating:
		r.asked, r.granted, r.began = at, machine.Instant{}, machine.Instant{}
	case machine.StateActive:
		r.began, r.token = at, m.Token
		r.returned, r.lapsed, r.back = machine.Instant{}, machine.Instant{}, machine.Instant{}
		c.Put(m.Role, c.beginning(r, m.Wall))
		r.rolled = false
	case machine.StateDraining:
		r.told, r.token, r.cause, r.detail = at, m.Token, m.Cause, m.Detail
		if m.Cause == lock.CauseAsked && r.wish.Token == m.Token && r.wish.By != "" {
			r.detail = "by " + r.wish.By
		}
	}
	if from == machine.StateDraining {
		c.Put(m.Role, c.ending(at, r, m.Wall, s.Term))
	}
}

// beginning is the event that our term began.
func (c *Chronicle) beginning(r *role, wall time.Time) lock.Event {
	e := lock.Event{At: wall, By: c.id, Kind: lock.Began, Token: r.token, From: r.former.Holder.ID, Previous: r.former.Token}
	switch {
	case r.former.Token == 0:
		e.Cause = lock.CauseFirst
	case r.former.Vacant(), r.other:
		e.Cause, e.Detail = r.how, r.more
		if r.how == lock.CauseSilent {
			e.Detail = r.silence(c.id)
			r.later = r.later || r.deaf // it may have been silent for long before
		}
		e.Detail = history.Joined(e.Detail, history.Paused(r.paused))
		if r.rolled {
			e.Detail = history.Joined(e.Detail, history.RolledBack)
		}
		if r.later {
			e.Detail = history.Joined(e.Detail, history.CameLater)
		}
	default: // it stood when it was seen last: then its owner has handed it to us
		e.Cause = lock.CauseReleased
		if r.wish.Token == r.former.Token && r.wish.To != "" {
			e.Cause, e.Detail = lock.CauseAsked, "by "+r.wish.By
		}
	}
	e.Detail = history.Text(e.Detail)
	switch silent := e.Cause == lock.CauseSilent || e.Cause == lock.CauseFenced; {
	case silent && !r.fenced.IsZero():
		e.Parts = part(e.Parts, lock.PartSilent, r.lived, r.fenced)
		e.Parts = part(e.Parts, lock.PartFence, r.fenced, r.ended)
	case silent, r.other:
		e.Parts = part(e.Parts, lock.PartSilent, r.lived, r.ended)
	}
	e.Parts = part(e.Parts, lock.PartNotice, r.ended, r.asked)
	e.Parts = part(e.Parts, lock.PartGrant, r.asked, r.granted)
	e.Parts = part(e.Parts, lock.PartStart, r.granted, r.began)
	over := r.ended
	if e.Cause == lock.CauseSilent {
		over = r.lived
	}
	// What was seen within a beat after an outage may have happened in it.
	if from, to := c.outage(r.began); !over.IsZero() && !from.IsZero() && over.Most(to) <= c.beat && r.asked.Most(from) > 0 {
		e.Parts = part(e.Parts, lock.PartOutage, from, to)
	}
	return e
}

// outage is the one that goes on now, or else the last one, if it is longer than a beat.
func (c *Chronicle) outage(now machine.Instant) (from, to machine.Instant) {
	if !c.failing.IsZero() && now.Most(c.failing) > c.beat {
		return c.failing, now
	}
	return c.away.from, c.away.to
}

// ending is the event that our term ended. The store may have said since who ended the session.
func (c *Chronicle) ending(at machine.Instant, r *role, wall time.Time, last lock.Term) lock.Event {
	e := lock.Event{At: wall, By: c.id, Kind: lock.Ended, Token: r.token, Cause: r.cause, Detail: r.detail}
	if cause, detail := history.CauseOf(last); e.Cause == lock.CauseLost && last.Token == r.token && last.End.By != c.id && cause != "" {
		e.Cause, e.Detail = cause, detail
	}
	e.Detail = history.Text(e.Detail)
	e.Parts = part(e.Parts, lock.PartWork, r.began, r.told)
	if r.began.IsZero() { // there was no work to wait for
		r.returned = r.told
	}
	e.Parts = part(e.Parts, lock.PartDrain, r.told, r.returned)
	e.Parts = part(e.Parts, lock.PartRelease, r.returned, at)
	from, to := r.lapsed, r.back
	if !c.failing.IsZero() { // what gave the role up was the first answer since
		from, to = c.failing, at
	}
	if !from.IsZero() && to.Most(from) > c.beat {
		e.Parts = part(e.Parts, lock.PartOutage, from, to)
	}
	r.told, r.began = machine.Instant{}, machine.Instant{}
	return e
}

// part appends the time from one instant to another, if both are known.
func part(all []lock.Part, name string, from, to machine.Instant) []lock.Part {
	if from.IsZero() || to.IsZero() {
		return all
	}
	return append(all, lock.Part{Name: name, Took: max(0, to.Most(from)).Round(time.Microsecond)})
}

// Beaten takes in the outcome of a beat, and when it began.
func (c *Chronicle) Beaten(now, began machine.Instant, o lock.Outcome, words error, wall time.Time) {
	if o == lock.Unknown {
		if !c.acked.IsZero() && c.acked.Most(began) >= 0 { // another one came through meanwhile
			return
		}
		if c.failing.IsZero() || c.failing.Most(began) > 0 { // the attempts fail in any order
			c.failing = began
		}
		c.words = words
		return
	}
	if o == lock.OK && (c.acked.IsZero() || began.Most(c.acked) > 0) {
		c.acked = began
	}
	since := c.failing
	c.failing = machine.Instant{}
	if !since.IsZero() && now.Most(since) > c.beat {
		c.away = gap{since, now}
	}
	for _, r := range c.roles {
		if r.state == machine.StateDraining && !since.IsZero() {
			r.lapsed, r.back = since, now
		}
	}
	if o != lock.OK || since.IsZero() || now.Most(since) <= c.beat {
		return
	}
	told := false
	for name, r := range c.roles {
		if r.state != machine.StateActive || since.Most(r.began) < 0 {
			continue
		}
		if !told && !c.outages.AllowN(wall, 1) {
			return
		}
		told = true
		e := lock.Event{At: wall, By: c.id, Kind: lock.Outage, Token: r.token, Detail: history.Text(c.words.Error())}
		e.Parts = part(e.Parts, lock.PartOutage, since, now)
		c.Put(name, e)
	}
}

// Wait is how long it is until the queued events are to be written: a beat after they were
// queued, or after the last time. 0: now, and the next time is a beat later.
func (c *Chronicle) Wait(now machine.Instant, beat time.Duration) time.Duration {
	if c.looked.IsZero() {
		c.looked = now
	}
	if left := now.Until(c.looked.Plus(beat)); left > 0 {
		return left
	}
	c.looked = machine.Instant{}
	return 0
}

// Quiet reports whether no role is being taken: then writing events delays nothing.
func (c *Chronicle) Quiet() bool {
	for _, r := range c.roles {
		if r.state == machine.StateActivating {
			return false
		}
	}
	return true
}
