package coordinator

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A desk is one machine, and a clock that a test sets.
type desk struct {
	*machine
	now Instant
}

func newDesk(c Config) *desk {
	c = c.Defaults()
	d := &desk{machine: newMachine(rulesOf(c, "nonce"), c.Roles), now: Virtual()}
	d.see(event{})
	d.see(event{kind: registered, number: 1, outcome: ok})
	d.see(event{kind: beaten, number: 1, outcome: ok})
	return d
}

// see shows the machine an event, and reports whether it decided to do something to a
// role or a session.
func (d *desk) see(e event) (do []action) {
	e.at = d.now
	do, _ = d.step(d.now, e)
	return do
}

func (d *desk) stands(role string, holder lock.Member, line ...lock.Member) []action {
	return d.see(event{kind: stood, role: role, standing: lock.Standing{Role: role, Floor: 9, Line: line, Term: lock.Term{Token: 9, Holder: holder}}})
}

func someone(id lock.SessionID, beat lock.Beat, ttl time.Duration) lock.Member {
	return lock.Member{Contender: lock.Contender{Session: id}, Promise: lock.Promise{TTL: ttl}, Beat: beat}
}

// TestSightOutlivesALine: a session whose record went is watched on while it holds any
// role, though it left the line of another.
func TestSightOutlivesALine(t *testing.T) {
	c := config("z")
	c.Roles = []lock.Bid{{Role: "a"}, {Role: "b"}}
	d := newDesk(c)
	x, y := someone("x", 5, c.TTL), someone("y", 6, c.TTL)
	d.stands("a", x, y) // x holds a and stands by for b, y the other way round
	d.stands("b", y, x)
	x.Beat = lock.Absent
	d.stands("a", x, y)
	d.stands("b", y)
	for range 10 { // y beats, x does not
		d.now = d.now.plus(c.TTL / 4)
		y.Beat++
		for _, a := range append(d.stands("b", y), d.see(event{kind: beaten, number: 1, outcome: ok})...) {
			if a.do == evict && a.session == "x" && a.beat == lock.Absent {
				return
			}
		}
	}
	t.Error("x, which holds a and has no record, is never evicted")
}

// TestExclusiveStopsAll at once: the works of the other roles are told in the same step.
func TestExclusiveStopsAll(t *testing.T) {
	c := config("a")
	c.Roles = []lock.Bid{{Role: "r"}, {Role: "x"}}
	c.ExclusiveRoles = []string{"x"}
	d := newDesk(c)
	d.see(event{kind: stood, role: "r", standing: lock.Standing{Role: "r"}})
	d.now = d.now.plus(time.Second)
	if do := d.see(event{kind: acquired, role: "r", number: 1, outcome: ok, token: 5}); !d.roles["r"].working {
		t.Fatalf("r does not work: %v", do)
	}
	d.stands("x", someone("other", 1, c.TTL))
	do := d.stands("x", someone("other", 2, c.TTL))
	if !slices.ContainsFunc(do, func(a action) bool { return a.do == fail && a.role == "x" }) ||
		!slices.ContainsFunc(do, func(a action) bool { return a.do == cancelWork && a.role == "r" }) {
		t.Errorf("decided %v, want to give up for x and to stop the work of r", do)
	}
}
