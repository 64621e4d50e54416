package machine

import (
	"testing"

	"github.com/understudy-ha/understudy/lock"
)

// TestRank: a successor does not wait for the turn of the one that stops, whose session
// stands in line between the release of its roles and its end.
func TestRank(t *testing.T) {
	line := func(ids ...lock.SessionID) (all []lock.Member) {
		for _, id := range ids {
			all = append(all, lock.Member{Contender: lock.Contender{Session: id}})
		}
		return all
	}
	last := lock.Member{Contender: lock.Contender{Session: "last"}}
	for _, c := range []struct {
		line []lock.Member
		id   lock.SessionID
		want int
	}{
		{line("last", "a", "b"), "a", 0},
		{line("last", "a", "b"), "b", 1},
		{line("last", "a", "b"), "last", 2},
		{line("a", "b"), "b", 1},
		{line("last"), "last", 0},
		{line("last", "a"), "new", 1},
	} {
		st := lock.Standing{Term: lock.Term{Token: 1, Holder: last, Over: "released"}, Line: c.line}
		if got := rank(st, c.id); got != c.want {
			t.Errorf("the rank of %s in %v is %d, want %d", c.id, c.line, got, c.want)
		}
	}
}
