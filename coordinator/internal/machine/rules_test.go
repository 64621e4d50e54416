package machine

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// takes lets the desk's session take the vacant role r under a token.
func (d *desk) takes(token lock.Token) []Action {
	d.stood(lock.Standing{Role: "r"})
	return d.see(Acquired{"r", 1, lock.OK, token})
}

// pass lets time pass in steps of a ms, with a Tick each, until until says so.
func (d *desk) pass(most time.Duration, until func([]Action) bool) (passed time.Duration) {
	for ; passed < most; passed += time.Millisecond {
		d.now = d.now.Plus(time.Millisecond)
		if until(d.see(Tick{})) {
			return passed
		}
	}
	d.Errorf("nothing came of %v", most)
	return passed
}

func does(a Action) func([]Action) bool {
	return func(do []Action) bool { return slices.Contains(do, a) }
}

// TestNoGrantOfAnothersToken: a token that the store showed with another holder is not a grant,
// even if the store gives it to us as well.
func TestNoGrantOfAnothersToken(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	d.stood(lock.Standing{Role: "r"}) // it is vacant, and we ask for it
	d.stood(shown(7, "another"))
	d.stood(shown(7, "nonce-1")) // a store that was put back gave it a second time
	if do := d.see(Acquired{"r", 1, lock.OK, 7}); slices.Contains(do, Action(Start{"r", 1, 7})) || d.Role("r").Phase != Ceding {
		t.Errorf("with a token that another had it decides %v, want to give it back", do)
	}
}

// TestFailuresAreForgotten once work has run for the longest hold-down: then the next failure
// is the first again.
func TestFailuresAreForgotten(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	fail := func(token lock.Token) time.Duration {
		d.see(Returned{"r", 1, Failed})
		hold := d.roles["r"].holdTo
		d.see(Released{"r", 1, lock.OK})
		return d.now.Until(hold)
	}
	d.takes(1)
	first, second := fail(1), time.Duration(0)
	d.takes(2)
	if second = fail(2); second != 2*first {
		t.Errorf("held down for %v after %v, want twice as long", second, first)
	}
	d.takes(3)
	for range 30 { // more than a minute, with beats
		d.beat()
	}
	if third := fail(3); third != first {
		t.Errorf("held down for %v after work that ran for a minute, want %v", third, first)
	}
}

// TestSupersededHasTheGrace, not the whole deadline, to return.
func TestSupersededHasTheGrace(t *testing.T) {
	c := everyday()
	d := newDesk(t, c, "r")
	d.takes(5)
	d.stood(shown(6, "another"))
	if took := d.pass(c.TTL, does(Exit{"r", 5})); took > c.Grace+time.Millisecond {
		t.Errorf("superseded work had %v, want the grace, %v", took, c.Grace)
	}
}

// TestDeadlineNeverGoesBack: of two acknowledged attempts the later start counts, in whatever
// order the replies arrive.
func TestDeadlineNeverGoesBack(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	d.takes(5)
	first := d.now.Plus(ttl / 4)
	d.now = first
	d.see(Tick{})
	second := first.Plus(ttl / 20)
	d.now = second
	d.see(Tick{}) // hedged
	d.see(Beaten{1, second, lock.OK})
	late := d.Session().Deadline
	d.now = d.now.Plus(time.Second)
	d.see(Beaten{1, first, lock.OK})
	if now := d.Session().Deadline; now != late {
		t.Errorf("the deadline moved from %v to %v", late, now)
	}
}

// again lets the session be lost, and registers another.
func (d *desk) again() {
	d.now = d.now.Plus(ttl / 4)
	d.see(Tick{})
	d.see(Beaten{1, d.now, lock.Lost})
	d.see(Closed{1, lock.OK})
	d.see(Registered{Number: 2, At: d.now, Outcome: lock.OK})
	d.see(Beaten{2, d.now, lock.OK})
}

// TestSickStaysSick through a new registration: it does not compete until it is healthy.
func TestSickStaysSick(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	d.see(Checked{false})
	d.again()
	if do := d.stood(lock.Standing{Role: "r"}); slices.Contains(do, Action(Acquire{"r", 2})) {
		t.Error("it competes though it is not known to be healthy")
	}
	if do := d.see(Checked{true}); !slices.Contains(do, Action(Acquire{"r", 2})) {
		t.Errorf("healthy again, it decides %v, want to compete", do)
	}
}

// TestDisk: where the disk fails the work is asked to end; where it hangs that is a stall, also of work
// that was asked already. In neither case does it compete, through a new registration too.
func TestDisk(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	d.takes(5)
	if do := d.see(Wrote{Failing}); !slices.Contains(do, Action(Cancel{"r", ErrUnhealthy})) {
		t.Errorf("the disk fails, and it decides %v", do)
	}
	if do := d.see(Wrote{Hanging}); !slices.Contains(do, Action(Cancel{"r", ErrStalled})) {
		t.Errorf("the disk hangs, and it decides %v", do)
	}
	if took := d.pass(ttl, does(Exit{"r", 5})).Round(10 * time.Millisecond); took != everyday().Grace {
		t.Errorf("work that does not return ends the process after %v, want the grace", took)
	}
	d = newDesk(t, everyday(), "r")
	d.see(Wrote{Hanging})
	d.again()
	if do := d.stood(lock.Standing{Role: "r"}); slices.Contains(do, Action(Acquire{"r", 2})) {
		t.Error("it competes on a disk that hangs")
	}
	if do := d.see(Wrote{Writable}); !slices.Contains(do, Action(Acquire{"r", 2})) {
		t.Errorf("the disk is well, and it decides %v, want to compete", do)
	}
}

// TestHedge: the second attempt at a beat waits for twice the last round trip, within bounds,
// and longer where nothing is urgent; those after it wait for less.
func TestHedge(t *testing.T) {
	for trip, want := range map[time.Duration]time.Duration{
		time.Millisecond:       ttl / 20, // HedgeCalm
		300 * time.Millisecond: 600 * time.Millisecond,
		2 * time.Second:        ttl / 4, // BeatEvery
	} {
		d := newDesk(t, everyday(), "r")
		beat := does(Beat{1})
		sent := func() Instant { d.pass(ttl, beat); return d.now }()
		d.now = sent.Plus(trip)
		d.see(Beaten{1, sent, lock.OK})
		d.pass(ttl, beat)
		if took := d.pass(ttl, beat) + time.Millisecond; took != want {
			t.Errorf("after a round trip of %v the second attempt comes after %v, want %v", trip, took, want)
		}
		if took := d.pass(ttl, beat) + time.Millisecond; took != 100*time.Millisecond {
			t.Errorf("the third attempt comes after %v", took)
		}
	}
}

// TestAbsenceIsNoSignOfLife: whoever has our contender ID is alive if its beat moves, not if
// its record is deleted.
func TestAbsenceIsNoSignOfLife(t *testing.T) {
	d := &desk{t, New(everyday(), "r"), Instant{time.Hour, time.Hour, time.Hour}}
	d.see(Tick{})
	other := someone("other", 5)
	for _, beat := range []lock.Beat{5, lock.Absent} {
		other.Beat = beat
		if do := d.see(Registered{Number: 1, At: d.now, Outcome: lock.Held, Holder: other}); len(do) > 0 {
			t.Errorf("at beat %d it decides %v, want to wait", beat, do)
		}
		d.pass(ttl, does(Register{1}))
	}
	other.Beat = 6
	if do := d.see(Registered{Number: 1, At: d.now, Outcome: lock.Held, Holder: other}); !slices.Contains(do, Action(Fail{NotRegistered, ""})) {
		t.Errorf("when its beat moves it decides %v, want to give up", do)
	}
}

// TestDeathIsRemembered while beats of the dead are still shown, and an eviction that is in
// flight is not made twice.
func TestDeathIsRemembered(t *testing.T) {
	d := &desk{t, New(everyday(), "r"), Instant{time.Hour, time.Hour, time.Hour}}
	d.see(Tick{})
	ghost := someone("ghost", 5)
	if do := d.see(Registered{Number: 1, At: d.now, Outcome: lock.Held, Holder: ghost, Dead: true}); !slices.Contains(do, Action(Evict{"ghost", 5})) {
		t.Fatalf("it decides %v, want to evict its own ghost", do)
	}
	ghost.Beat = 6 // sent before it died
	if do := d.see(Registered{Number: 1, At: d.now, Outcome: lock.Held, Holder: ghost}); len(do) > 0 {
		t.Errorf("an eviction is in flight, and it decides %v", do)
	}
	d.now = d.now.Plus(ttl / 4)
	d.see(Evicted{"ghost", lock.Unknown})
	d.now = d.now.Plus(ttl / 4)
	if do := d.see(Tick{}); !slices.Contains(do, Action(Evict{"ghost", 6})) {
		t.Errorf("it decides %v, want to evict the dead, whatever beat is shown", do)
	}
}
