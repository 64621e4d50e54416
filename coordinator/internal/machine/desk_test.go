package machine

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// ttl is that of the rules that these tests play by.
const ttl = 10 * time.Second

func everyday() Rules {
	return Rules{
		Nonce: "nonce", TTL: ttl, Skew: 150 * time.Millisecond, Grace: 2 * time.Second, StopTimeout: 30 * time.Second,
		BeatEvery: ttl / 4, IdleEvery: ttl * 7 / 8, HedgeCalm: ttl / 20, Try: ttl / 8, HedgeFirst: 50 * time.Millisecond, HedgeNext: 100 * time.Millisecond,
		Retry: 100 * time.Millisecond, Turn: 50 * time.Millisecond,
		HoldFirst: 250 * time.Millisecond, HoldMost: time.Minute, CloseFor: 5 * time.Second,
	}
}

// A desk is one machine that has registered, and a clock that a test sets.
type desk struct {
	*testing.T
	*Machine
	now Instant
}

func newDesk(t *testing.T, r Rules, roles ...string) *desk {
	d := &desk{t, New(r, roles...), Instant{time.Hour, time.Hour, time.Hour}}
	d.see(Tick{})
	d.see(Registered{Number: 1, At: d.now, Outcome: lock.OK})
	d.see(Beaten{Number: 1, At: d.now, Outcome: lock.OK})
	return d
}

// see shows the machine an event, and returns what it decided.
func (d *desk) see(e Event) []Action {
	do := d.Step(d.now, e)
	if err := d.check(); err != nil {
		d.Errorf("after %#v: %v", e, err)
	}
	return do
}

// beat lets a quarter of the ttl pass, and acknowledges the beat that is sent then, if any.
func (d *desk) beat() []Action {
	d.now = d.now.Plus(ttl / 4)
	do := d.see(Tick{})
	if slices.Contains(do, Action(Beat{1})) {
		do = append(do, d.see(Beaten{Number: 1, At: d.now, Outcome: lock.OK})...)
	}
	return do
}

func (d *desk) stands(role string, holder lock.Member, line ...lock.Member) []Action {
	return d.see(Stood{d.now, lock.Standing{Role: role, Floor: 9, Line: line, Term: lock.Term{Token: 9, Holder: holder}}})
}

func someone(id lock.SessionID, beat lock.Beat) lock.Member {
	return lock.Member{Contender: lock.Contender{Session: id}, Promise: lock.Promise{TTL: ttl}, Beat: beat}
}

// TestSightOutlivesALine: a session whose record went is watched on while it holds any
// role, though it left the line of another.
func TestSightOutlivesALine(t *testing.T) {
	d := newDesk(t, everyday(), "a", "b")
	x, y := someone("x", 5), someone("y", 6)
	d.stands("a", x, y) // x holds a and stands by for b, y the other way round
	d.stands("b", y, x)
	x.Beat = lock.Absent
	d.stands("a", x, y)
	d.stands("b", y)
	for range 10 { // y beats, x does not
		y.Beat++
		if slices.Contains(append(d.stands("b", y), d.beat()...), Action(Evict{"x", lock.Absent})) {
			return
		}
	}
	t.Error("x, which holds a and has no record, is never evicted")
}

// TestExclusiveStopsAll at once: the works of the other roles are told in the same step.
func TestExclusiveStopsAll(t *testing.T) {
	c := everyday()
	c.Exclusive = []string{"x"}
	d := newDesk(t, c, "r", "x")
	d.see(Stood{d.now, lock.Standing{Role: "r"}})
	d.now = d.now.Plus(time.Second)
	if do := d.see(Acquired{"r", 1, lock.OK, 5}); d.Role("r").Phase != Working {
		t.Fatalf("r does not work: %v", do)
	}
	d.stands("x", someone("other", 1))
	do := d.stands("x", someone("other", 2))
	if !slices.Contains(do, Action(Fail{RoleTaken, "x"})) || !slices.Contains(do, Action(Cancel{"r", ErrStopping})) {
		t.Errorf("decided %v, want to give up for x and to stop the work of r", do)
	}
}
