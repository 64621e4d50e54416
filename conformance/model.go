package conformance

import (
	"fmt"

	"github.com/anishathalye/porcupine"

	"github.com/understudy-ha/understudy/lock"
)

// maxSessions is how many sessions a round can have: a bit each.
const maxSessions = 64

type op string

const (
	opRegister op = "register"
	opBeat     op = "beat"
	opAcquire  op = "acquire"
	opRelease  op = "release"
	opHandoff  op = "handoff"
	opEvict    op = "evict"
	opClose    op = "close"
	opFree     op = "free" // the first part of a close: a store may release the roles and then write the end
)

// codeOf is the outcome of a call. Another store, or an error that no retry can cure, says
// nothing about the records.
func codeOf(err error) lock.Outcome {
	if o := lock.OutcomeOf(err); o <= lock.Gone {
		return o
	}
	return lock.Unknown
}

type input struct {
	client  int
	op      op
	session int // the one that calls; for Evict the one to end
	token   lock.Token
	to      int
}

type output struct {
	code  lock.Outcome
	token lock.Token // that was granted, or the holder's
}

// A chapter is everything that a store can hold of one role: the contract as data.
type chapter struct {
	present, ended uint64 // sessions, a bit each
	holder         int    // of the last term; -1: there was none
	token          lock.Token
	guessed        bool // the term's token is unknown: it is greater than token
	over           bool
	before         lock.Token // the token of the term that a handoff ended
}

func (c chapter) here(s int) bool { return c.present&(1<<s) != 0 }

func (c chapter) vacant() bool { return c.holder < 0 || c.over || c.ended&(1<<c.holder) != 0 }

// is reports whether the last term is of this session and token.
func (c chapter) is(s int, token lock.Token) bool {
	return c.holder == s && !c.guessed && c.token == token
}

// learn is the chapter with its token known, and whether that is possible.
func (c chapter) learn(token lock.Token) (chapter, bool) {
	if !c.guessed {
		return c, c.token == token
	}
	known := token > c.token
	c.guessed, c.token = false, token
	return c, known
}

// end ends a session.
func (c chapter) end(s int) chapter {
	c.present &^= 1 << s
	c.ended |= 1 << s
	return c
}

func model() porcupine.NondeterministicModel {
	return porcupine.NondeterministicModel{
		Init: func() []interface{} { return []interface{}{chapter{holder: -1}} },
		Step: func(state, in, out interface{}) []interface{} {
			c, i, o := state.(chapter), in.(input), out.(output)
			if o.code == lock.Unknown { // either nothing happened, or the whole effect
				next := []interface{}{c}
				if after, changed := c.does(i); changed {
					next = append(next, after)
				}
				return next
			}
			after, can := c.step(i, o)
			if !can {
				return nil
			}
			return []interface{}{after}
		},
		DescribeOperation: func(in, out interface{}) string {
			i, o := in.(input), out.(output)
			return fmt.Sprintf("s%d %s t=%d to=s%d: %s %d", i.session, i.op, i.token, i.to, o.code, o.token)
		},
		DescribeState: func(state interface{}) string { return fmt.Sprintf("%+v", state) },
	}
}

// does is the effect of a call, whatever its answer.
func (c chapter) does(i input) (chapter, bool) {
	before := c
	switch i.op {
	case opRegister:
		if c.ended&(1<<i.session) == 0 {
			c.present |= 1 << i.session
		}
	case opAcquire:
		if c.here(i.session) && c.vacant() {
			c = chapter{present: c.present, ended: c.ended, holder: i.session, token: c.token, guessed: true}
		}
	case opRelease:
		if c.is(i.session, i.token) {
			c.over = true
		}
	case opHandoff:
		if c.is(i.session, i.token) && !c.vacant() && c.here(i.session) && c.here(i.to) {
			c = chapter{present: c.present, ended: c.ended, holder: i.to, token: c.token, guessed: true, before: i.token}
		}
	case opEvict:
		c = c.end(i.session)
	case opFree:
		if c.holder == i.session {
			c.over = true
		}
	case opClose:
		c = c.end(i.session)
	}
	return c, c != before
}

// step is the effect of a call with this answer, and whether this answer is possible.
func (c chapter) step(i input, o output) (chapter, bool) {
	after, _ := c.does(i)
	switch {
	case o.code == lock.Lost:
		return c, !c.here(i.session) && i.op != opEvict && i.op != opRelease && i.op != opClose && i.op != opFree
	case i.op == opRegister || i.op == opBeat:
		return after, o.code == lock.OK && after.here(i.session)
	case i.op == opRelease:
		return c.released(i, o, after)
	case i.op == opClose || i.op == opFree:
		return after, o.code == lock.OK
	case i.op == opEvict:
		if o.code == lock.Moved { // the named beat was not there
			return c, c.ended&(1<<i.session) == 0
		}
		return after, o.code == lock.OK
	case i.op == opAcquire:
		return c.acquired(i, o, after)
	}
	return c.handed(i, o, after)
}

func (c chapter) acquired(i input, o output, after chapter) (chapter, bool) {
	switch {
	case !c.here(i.session):
		return c, false
	case o.code == lock.Moved: // a term began or ended in between
		return c, true
	case o.code == lock.Held && (c.vacant() || c.holder == i.session):
		return c, false
	case o.code == lock.Held:
		return c.learn(o.token)
	case !c.vacant() && c.holder != i.session:
		return c, false
	}
	return after.learn(o.token)
}

// released is refused to a session that does not hold a current term.
func (c chapter) released(i input, o output, after chapter) (chapter, bool) {
	others := !c.vacant() && c.holder != i.session
	if o.code == lock.Held {
		known, can := c.learn(o.token)
		return known, others && can && o.token == i.token
	}
	return after, o.code == lock.OK && (!others || !c.is(c.holder, i.token))
}

func (c chapter) handed(i input, o output, after chapter) (chapter, bool) {
	mine := c.is(i.session, i.token) && !c.vacant()
	switch o.code {
	case lock.OK:
		return after, after != c || c.before == i.token && c.holder == i.to && i.token != 0
	case lock.Gone:
		return c, mine && c.here(i.session) && !c.here(i.to)
	case lock.Moved:
		return c, !mine
	}
	return c, false
}
