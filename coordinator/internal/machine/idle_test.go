package machine

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestIdleBeats: who only stands by beats a little more often than once in a promise. Who takes
// a role beats beside that call, works when both are answered, and beats as an active from then
// until the role is given back.
func TestIdleBeats(t *testing.T) {
	c := everyday()
	d := newDesk(t, c, "r")
	beat := does(Beat{1})
	next := func() time.Duration {
		took := d.pass(ttl, beat)
		d.see(Beaten{1, d.now, lock.OK})
		return took.Round(10 * time.Millisecond)
	}
	d.stood(shown(5, "another"))
	if took := next(); took != c.IdleEvery {
		t.Errorf("one that stands by beats after %v, want %v", took, c.IdleEvery)
	}
	over := shown(5, "another")
	over.Term.Over = "released"
	d.now = d.now.Plus(c.IdleEvery - time.Second/10) // its deadline is all but over
	if do := d.stood(over); !slices.Equal(do, []Action{Acquire{"r", 1}, Beat{1}}) {
		t.Fatalf("one that takes a role decides %v, want a beat beside the call", do)
	}
	sent := d.now
	if do := d.see(Acquired{"r", 1, lock.OK, 10}); len(do) > 0 {
		t.Errorf("before its beat is acknowledged it decides %v", do)
	}
	if do := d.see(Beaten{1, sent, lock.OK}); !slices.Equal(do, []Action{Start{"r", 1, 10}}) {
		t.Errorf("when it is, it decides %v, want to start the work", do)
	}
	if took := next(); took != c.BeatEvery {
		t.Errorf("one that works beats after %v, want %v", took, c.BeatEvery)
	}
	d.see(Returned{"r", 1, Failed})
	d.see(Released{"r", 1, lock.OK})
	d.stood(shown(11, "another"))
	if took := next(); took != c.IdleEvery {
		t.Errorf("one that stands by again beats after %v, want %v", took, c.IdleEvery)
	}
}

// TestFirstBeat: a session's first beat is due at once, also where the machine's clocks have
// just begun.
func TestFirstBeat(t *testing.T) {
	d := &desk{t, New(everyday(), "r"), Instant{time.Second, time.Second, time.Second}}
	d.see(Tick{})
	if do := d.see(Registered{Number: 1, At: d.now, Outcome: lock.OK}); !slices.Equal(do, []Action{Beat{1}}) {
		t.Errorf("registered, it decides %v, want a beat", do)
	}
}

// TestPatience: a holder is evicted after one promise without a beat, counted from its term's
// beginning at the earliest; who only stands by, after two; who keeps us out, after one.
func TestPatience(t *testing.T) {
	x := func(beat lock.Beat) lock.Member { return someone("x", beat) }
	for name, c := range map[string]struct {
		begin func(d *desk)
		want  time.Duration
	}{
		"one that holds a role": {func(d *desk) { d.stands("r", x(5)) }, ttl},
		"one that stands by":    {func(d *desk) { d.stands("r", someone("me", 1), x(5)) }, 2 * ttl},
		"one that stands by, when another takes a role": {func(d *desk) {
			d.stands("r", someone("y", 4), x(5))
			d.now = d.now.Plus(ttl * 3 / 2)
			d.stood(lock.Standing{Role: "r", Floor: 10, Term: lock.Term{Token: 10, Holder: someone("y", 5)}, Line: []lock.Member{x(5)}})
		}, ttl / 2},
		"one that was given a role": {func(d *desk) {
			d.stood(lock.Standing{Role: "r", Floor: 8, Term: lock.Term{Token: 8, Holder: someone("y", 4)}, Line: []lock.Member{x(5)}})
			d.now = d.now.Plus(ttl * 3 / 2)
			d.stands("r", x(5))
		}, ttl},
		"one that holds another role": {func(d *desk) {
			d.stands("s", x(5))
			d.stands("r", someone("me", 1), x(5))
		}, ttl},
		"one that gave its role back": {func(d *desk) {
			d.stands("s", x(5))
			d.stood(lock.Standing{Role: "s", Floor: 9, Term: lock.Term{Token: 9, Holder: x(5), Over: "released"}, Line: []lock.Member{x(5)}})
			d.stands("r", someone("me", 1), x(5))
		}, 2 * ttl},
	} {
		d := newDesk(t, everyday(), "r", "s")
		c.begin(d)
		if took := d.pass(3*ttl, does(Evict{"x", 5})).Round(10 * time.Millisecond); took != c.want {
			t.Errorf("%s is evicted after %v, want %v", name, took, c.want)
		}
	}
	d := &desk{t, New(everyday(), "r"), Instant{time.Hour, time.Hour, time.Hour}}
	d.see(Tick{})
	d.see(Registered{Number: 1, At: d.now, Outcome: lock.Held, Holder: x(5)})
	if took := d.pass(3*ttl, does(Evict{"x", 5})).Round(10 * time.Millisecond); took != ttl {
		t.Errorf("one that has our ID is evicted after %v, want %v", took, ttl)
	}
}

// TestUnknownPromise: whoever never said how long it may be silent is never evicted.
func TestUnknownPromise(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	do := d.stands("r", lock.Member{Contender: lock.Contender{Session: "x"}})
	for range 20 {
		do = append(do, d.beat()...)
	}
	if slices.Contains(do, Action(Evict{"x", lock.Absent})) {
		t.Error("it is evicted")
	}
}

// TestUnheard: a session is given up when the store has acknowledged nothing for one promise
// while it holds a role, and for two while it stands by.
func TestUnheard(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	d.stood(shown(5, "another"))
	if took := d.pass(3*ttl, does(Close{1})).Round(10 * time.Millisecond); took != 2*ttl {
		t.Errorf("one that stands by gives up its session after %v, want %v", took, 2*ttl)
	}
	d = newDesk(t, everyday(), "r")
	d.now = d.now.Plus(ttl * 7 / 8)
	d.stood(lock.Standing{Role: "r"})
	d.see(Acquired{"r", 1, lock.OK, 5})
	if took := d.pass(3*ttl, does(Close{1})).Round(10 * time.Millisecond); took != ttl {
		t.Errorf("one that was granted a role, and whose beats are not acknowledged, gives up its session after %v, want %v", took, ttl)
	}
}

// TestUnsureGrant: where the answers to an acquisition are lost, which the store may have granted,
// the session is given up after one promise without a beat, as one that holds the role: its
// beats may be arriving, and then nobody else takes it.
func TestUnsureGrant(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	d.stood(lock.Standing{Role: "r"})
	began, asked := d.now, d.now
	for d.now.Most(began) < 3*ttl {
		d.now = d.now.Plus(10 * time.Millisecond)
		do := d.see(Tick{})
		if slices.Contains(do, Action(Close{1})) {
			if took := d.now.Most(began).Round(10 * time.Millisecond); took != ttl {
				t.Errorf("the session is given up after %v, want %v", took, ttl)
			}
			return
		}
		switch {
		case slices.Contains(do, Action(Acquire{"r", 1})):
			asked = d.now
		case d.Role("r").Phase == Acquiring && d.now.Most(asked) >= d.Try:
			d.see(Acquired{"r", 1, lock.Unknown, 0})
		}
	}
	t.Error("the session is not given up")
}

// TestSureAgain: who may have taken a role beats as one that holds it until the store says that
// another does.
func TestSureAgain(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	d.stood(lock.Standing{Role: "r"})
	d.see(Acquired{"r", 1, lock.Unknown, 0})
	if d.session.engaged.IsZero() {
		t.Error("it does not count as one that holds the role")
	}
	d.see(Checked{false}) // so it does not ask again
	d.stood(lock.Standing{Role: "r"})
	if d.session.engaged.IsZero() {
		t.Error("nobody holds the role yet, and it does not count as one that does")
	}
	d.stood(shown(5, "another"))
	if !d.session.engaged.IsZero() {
		t.Error("another holds the role, and it counts as one that does")
	}
}

// TestRebid: what changes a bid is told at once, not with the next beat that is due.
func TestRebid(t *testing.T) {
	for name, e := range map[string]Event{"not healthy": Checked{false}, "not ready": Rebid{}} {
		d := newDesk(t, everyday(), "r")
		d.stood(shown(5, "another"))
		d.now = d.now.Plus(time.Second)
		if do := d.see(e); !slices.Equal(do, []Action{Beat{1}}) {
			t.Errorf("%s: it decides %v, want a beat", name, do)
		}
		d.see(Beaten{1, d.now, lock.OK})
		if _, same := e.(Checked); same {
			if do := d.see(e); len(do) > 0 {
				t.Errorf("%s as before: it decides %v", name, do)
			}
		}
	}
}
