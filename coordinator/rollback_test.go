package coordinator

import (
	"testing"

	"github.com/understudy-ha/understudy/lock"
)

// TestForgotten shows a process standings of a store that was rolled back, and of one
// that was not. The session ends where the store names a term that it cannot be in.
func TestForgotten(t *testing.T) {
	shown := func(token lock.Token, holder lock.SessionID, over string) lock.Standing {
		return lock.Standing{Role: "r", Floor: token, Term: lock.Term{Token: token, Over: over, Holder: lock.Member{Contender: lock.Contender{Session: holder}}}}
	}
	for _, c := range []struct {
		name   string
		own    lock.Token // our term; 0: none
		stands []lock.Standing
		lost   bool
	}{
		{"our term", 15, []lock.Standing{shown(15, "n-1", "")}, false},
		{"our term is not shown yet", 15, []lock.Standing{shown(4, "n-1", "released"), shown(13, "other", "")}, false},
		{"a later one", 15, []lock.Standing{shown(15, "n-1", ""), shown(17, "other", "")}, false},
		{"its record went", 15, []lock.Standing{shown(15, "n-1", ""), shown(0, "", "")}, false},
		{"an earlier one of ours", 15, []lock.Standing{shown(15, "n-1", ""), shown(4, "n-1", "")}, true},
		{"an earlier one of another's", 15, []lock.Standing{shown(15, "n-1", ""), shown(4, "other", "")}, true},
		{"an earlier one that is over", 15, []lock.Standing{shown(15, "n-1", ""), shown(4, "other", "released")}, true},
		{"standing by, one of ours that is long over", 0, []lock.Standing{shown(17, "other", ""), shown(4, "n-1", "")}, true},
		{"standing by, an earlier one of another's", 0, []lock.Standing{shown(17, "other", ""), shown(4, "other", "")}, false},
	} {
		m := newMachine(rules{nonce: "n"}, []lock.Bid{{Role: "r"}})
		m.session.phase, m.session.number = live, 1
		r := m.roles["r"]
		r.token = c.own
		m.roles["r"] = r
		for _, st := range c.stands {
			m.look(Instant{}, event{kind: stood, role: "r", standing: st})
		}
		if lost := m.session.phase != live; lost != c.lost {
			t.Errorf("%s: the session is lost: %v, want %v", c.name, lost, c.lost)
		}
	}
}
