package coordinator

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestRolledBack shows standings of a store that was put back to an earlier term.
func TestRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := Virtual()
		c := rulesOf(config("a").Defaults(), "nonce")
		s := session{number: 1, phase: live, sent: now}
		shows := func(token lock.Token, holder lock.SessionID) lock.Standing {
			return lock.Standing{Role: "r", Floor: token, Term: lock.Term{Token: token, Holder: lock.Member{Contender: lock.Contender{Session: holder}}}}
		}
		active := role{token: 20, working: true}.look(c, s, now, shows(20, c.id(1)))
		if cause := active.reason(c, s, now); cause != nil {
			t.Fatalf("told to stop in its own term: %v", cause)
		}
		active = active.look(c, s, now, shows(10, "another"))
		if cause := active.reason(c, s, now); !errors.Is(cause, ErrSuperseded) {
			t.Errorf("the store names an earlier term than the active's, whose cause to stop is %v, want %v", cause, ErrSuperseded)
		}

		gave := role{gave: 10}.look(c, s, now, shows(20, "another")).look(c, s, now, shows(10, c.id(1)))
		now = now.plus(time.Second)
		gave, do := gave.decide(c, s, now)
		if len(do) != 1 || do[0].do != acquire {
			t.Fatalf("one that holds again what it gave up does %+v, want to ask for the token", do)
		}
		gave = gave.observe(c, s, now, event{kind: acquired, number: 1, outcome: ok, token: 10})
		now = now.plus(time.Second)
		if _, do = gave.decide(c, s, now); len(do) != 1 || do[0].do != release || do[0].token != 10 {
			t.Errorf("one that holds again what it gave up does %+v, want to release it", do)
		}
	})
}

// TestVacancyIsSeen evicts the holder that was seen last in a store that was rolled back
// meanwhile. Nobody asks for the role before the store has shown how it stands.
func TestVacancyIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config("a").Defaults()
		m := newMachine(rulesOf(c, "nonce"), c.Roles)
		now := Virtual()
		step := func(e event) (do []action) {
			e.at = now
			do, _ = m.step(now, e)
			return slices.DeleteFunc(do, func(a action) bool { return a.do == beat })
		}
		shows := func(token lock.Token, holder lock.SessionID, end lock.End) event {
			held := lock.Member{Contender: lock.Contender{Session: holder}, Promise: lock.Promise{TTL: c.TTL, Skew: c.Skew}, Beat: 5}
			return event{kind: stood, role: "r", standing: lock.Standing{Role: "r", Floor: token, Term: lock.Term{Token: token, Holder: held, End: end}}}
		}
		step(event{})
		step(event{kind: registered, number: 1, outcome: ok})
		step(shows(20, "holder", lock.End{}))
		now = now.plus(c.TTL + c.Skew)
		if do := step(event{kind: beaten, number: 1, outcome: ok}); len(do) != 1 || do[0].do != evict || do[0].session != "holder" {
			t.Fatalf("one that saw the holder silent for its promise does %+v, want to evict it", do)
		}
		if do := step(event{kind: evicted, session: "holder", outcome: ok}); len(do) != 0 {
			t.Errorf("one that was not shown how the role stands does %+v", do)
		}
		if do := step(shows(10, "earlier", lock.End{By: "x", Why: "silent"})); len(do) != 0 {
			t.Errorf("one that saw token 20, and is shown token 10, does %+v", do)
		}
	})
}

// TestForgotten shows standings of a store that has forgotten the greatest token, 20.
// What counts for one who competes is what the next token is sure to be above, for one who
// works only which term is named: one works on in no other's term, however high the floor.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := Virtual()
		c := rulesOf(config("a").Defaults(), "nonce")
		s := session{number: 1, phase: live, sent: now}
		held := func(token lock.Token, holder lock.SessionID, over string) lock.Standing {
			return lock.Standing{Role: "r", Store: "old", Floor: token, Term: lock.Term{Token: token, Over: over, Holder: lock.Member{Contender: lock.Contender{Session: holder}}}}
		}
		none := func(floor lock.Token) lock.Standing {
			return lock.Standing{Role: "r", Store: "adopted", Floor: floor}
		}
		raised := func(st lock.Standing) lock.Standing { st.Floor = 1_000; return st }
		for _, one := range []struct {
			name string
			r    role
			then lock.Standing
			want verb // 0: nothing
		}{
			{"wiped, the next token may be 20 again", role{}, none(19), 0},
			{"wiped, the next token is greater", role{}, none(20), acquire},
			{"put back, vacant", role{}, held(10, "another", "released"), 0},
			{"put back, vacant, raised", role{}, raised(held(10, "another", "released")), acquire},
			{"put back, another's", role{token: 20, working: true}, held(10, "another", ""), cancelWork},
			{"put back and raised, another's", role{token: 20, working: true}, raised(held(10, "another", "")), cancelWork},
			{"wiped and raised", role{token: 20, working: true}, none(1_000), cancelWork},
			{"put back, named again", role{gave: 20}, held(10, c.id(1), ""), acquire},
			{"put back and raised, named again", role{gave: 20}, raised(held(10, c.id(1), "")), acquire},
		} {
			first := held(20, "another", "released")
			if one.r.working {
				first = held(20, c.id(1), "")
			}
			r := one.r.look(c, s, now, first).look(c, s, now, one.then)
			_, do := r.decide(c, s, now.plus(time.Second))
			if len(do) == 0 && one.want != 0 || len(do) > 0 && do[0].do != one.want {
				t.Errorf("%s: does %+v, want verb %d", one.name, do, one.want)
			}
		}
	})
}
