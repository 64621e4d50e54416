package machine

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// shown is a standing of a store whose greatest token is the one of this term.
func shown(token lock.Token, holder lock.SessionID) lock.Standing {
	held := lock.Member{Contender: lock.Contender{Session: holder}, Promise: lock.Promise{TTL: ttl}, Beat: 5}
	return lock.Standing{Role: "r", Floor: token, Term: lock.Term{Token: token, Holder: held}}
}

func (d *desk) stood(st lock.Standing) []Action { return d.see(Stood{d.now, st}) }

// TestRolledBack shows standings of a store that was put back to an earlier term.
func TestRolledBack(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	me := d.ID(1)
	d.stood(lock.Standing{Role: "r"})
	d.see(Acquired{"r", 1, lock.OK, 20})
	if do := d.stood(shown(20, me)); len(do) != 0 || d.Role("r").Phase != Working {
		t.Fatalf("in its own term it decides %v", do)
	}
	if do := d.stood(shown(10, "another")); !slices.Contains(do, Action(Cancel{"r", ErrSuperseded})) {
		t.Errorf("the store names an earlier term than the active's, which decides %v", do)
	}
}

// TestRolledBackToUs gave a token up to a store that forgot it, and says that we hold the
// role under an earlier one: it is taken and released, never worked under.
func TestRolledBackToUs(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	me := d.ID(1)
	d.stood(shown(10, me))
	d.see(Acquired{"r", 1, lock.OK, 10})
	d.see(Returned{"r", 1, Failed})
	d.see(Released{"r", 1, lock.OK})
	d.stood(shown(20, "another"))
	d.now = d.now.Plus(time.Second)
	if do := d.stood(shown(10, me)); !slices.Equal(do, []Action{Acquire{"r", 1}}) {
		t.Fatalf("one that holds again what it gave up decides %v, want to ask for the token", do)
	}
	if do := d.see(Acquired{"r", 1, lock.OK, 10}); !slices.Equal(do, []Action{Release{"r", 1, 10}}) {
		t.Errorf("one that holds again what it gave up decides %v, want to release it", do)
	}
}

// TestPutBackThenDeleted: a store was put back, and then the role's record is deleted. Only an
// acquisition shows what token it gives now; one that is not greater than all before is given back.
func TestPutBackThenDeleted(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	over := shown(20, "another")
	over.Term.Over = "released"
	d.stood(over)
	d.see(Acquired{"r", 1, lock.Held, 0})
	over.Term.Token, over.Floor = 10, 10
	if do := d.stood(over); len(do) > 0 {
		t.Errorf("of a store that was put back it decides %v", do)
	}
	if do := d.stood(lock.Standing{Role: "r"}); !slices.Equal(do, []Action{Acquire{"r", 1}}) {
		t.Errorf("once the record is gone it decides %v, want to ask for the role", do)
	}
	if do := d.see(Acquired{"r", 1, lock.OK, 11}); !slices.Equal(do, []Action{Release{"r", 1, 11}}) {
		t.Errorf("with a token that is too small it decides %v, want to give it back", do)
	}
}

// TestVacancyIsSeen evicts the holder that was seen last in a store that was rolled back
// meanwhile. Nobody asks for the role before the store has shown how it stands.
func TestVacancyIsSeen(t *testing.T) {
	d := newDesk(t, everyday(), "r")
	d.stood(shown(20, "holder"))
	var do []Action
	for range 4 {
		do = append(do, d.beat()...)
	}
	if !slices.Contains(do, Action(Evict{"holder", 5})) {
		t.Fatalf("one that saw the holder silent for its promise decides %v, want to evict it", do)
	}
	if do := d.see(Evicted{"holder", lock.OK}); len(do) != 0 {
		t.Errorf("one that was not shown how the role stands decides %v", do)
	}
	earlier := shown(10, "earlier")
	earlier.Term.End = lock.End{By: "x", Why: "silent"}
	if do := d.stood(earlier); len(do) != 0 {
		t.Errorf("one that saw token 20, and is shown token 10, decides %v", do)
	}
}

// TestForgotten shows standings of a store that has forgotten the greatest token, 20. For
// one who competes, what counts is what the next token is sure to be above; for one who
// works, only which term is named: nobody works on in another's term, however high the floor.
func TestForgotten(t *testing.T) {
	held := func(token lock.Token, holder lock.SessionID, over string) lock.Standing {
		st := shown(token, holder)
		st.Store, st.Term.Over = "old", over
		return st
	}
	none := func(floor lock.Token) lock.Standing { return lock.Standing{Role: "r", Store: "adopted", Floor: floor} }
	raised := func(st lock.Standing) lock.Standing { st.Floor = 1_000; return st }
	const stands, works, gave = "stands by", "works under 20", "gave 20 up"
	me := lock.SessionID("nonce-1")
	stop, ask := Action(Cancel{"r", ErrSuperseded}), Action(Acquire{"r", 1})
	for _, one := range []struct {
		name, before string
		then         lock.Standing
		want         Action // nil: nothing
	}{
		{"wiped, the next token may be 20 again", stands, none(19), nil},
		{"wiped, the next token is greater", stands, none(20), ask},
		{"put back, vacant", stands, held(10, "another", "released"), nil},
		{"put back, vacant, raised", stands, raised(held(10, "another", "released")), ask},
		{"put back, another's", works, held(10, "another", ""), stop},
		{"put back and raised, another's", works, raised(held(10, "another", "")), stop},
		{"wiped and raised", works, none(1_000), stop},
		{"put back, named again", gave, held(10, me, ""), ask},
		{"put back and raised, named again", gave, raised(held(10, me, "")), ask},
	} {
		t.Run(one.name, func(t *testing.T) {
			d := newDesk(t, everyday(), "r")
			switch one.before {
			case stands:
				d.stood(held(20, "another", "released"))
				d.see(Acquired{"r", 1, lock.Held, 0})
			case works, gave:
				d.stood(held(10, "another", "released"))
				d.see(Acquired{"r", 1, lock.OK, 20})
				d.stood(held(20, me, ""))
			}
			if one.before == gave {
				d.see(Returned{"r", 1, Failed})
				d.see(Released{"r", 1, lock.OK})
				d.stood(held(20, me, "released"))
			}
			d.now = d.now.Plus(2 * time.Second)
			do := slices.DeleteFunc(append(d.stood(one.then), d.see(Tick{})...), func(a Action) bool { return a == Action(Beat{1}) })
			if one.want == nil && len(do) > 0 || one.want != nil && !slices.Equal(do, []Action{one.want}) {
				t.Errorf("one that %s decides %v, want %v", one.before, do, one.want)
			}
		})
	}
}
