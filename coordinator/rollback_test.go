package coordinator

import (
	"errors"
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
