package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestSweep leaves the latest ends and events that fit, to the byte, and always the last one.
func TestSweep(t *testing.T) {
	end, event := lock.End{By: "op", Why: "dead"}, func(i int) lock.Event {
		return lock.Event{By: "a", Kind: lock.Began, At: time.Unix(int64(i), 0), Parts: []lock.Part{{Name: "work"}}}
	}
	one, each := endSize("s0", end), eventSize(event(0))
	for _, c := range []struct{ ends, events, leftEnds, leftEvents int }{
		{5 * one, 2 * 4 * each, 5, 4},
		{5*one - 1, 2*4*each - 2, 4, 3},
		{2 * one, 2 * 2 * each, 2, 2},
		{2*one - 1, 2*2*each - 2, 1, 1},
		{0, 0, 1, 1},
	} {
		l := New()
		for i := range 5 {
			l.end(lock.SessionID(fmt.Sprint("s", i)), end)
		}
		l.History = map[string][]lock.Event{}
		for i := range 4 {
			l.History["r"], l.History["q"] = append(l.History["r"], event(i)), append(l.History["q"], event(i))
		}
		l.Sweep(c.ends, c.events)
		if len(l.Swept) != c.leftEnds || len(l.Ended) != c.leftEnds || l.Swept[c.leftEnds-1] != "s4" || slices.ContainsFunc(l.Swept, func(id lock.SessionID) bool { return l.Ended[id] != end }) {
			t.Errorf("of %d bytes of ends %v are left, and %v, want the last %d", c.ends, l.Swept, l.Ended, c.leftEnds)
		}
		for role, left := range l.History {
			if len(left) != c.leftEvents || left[len(left)-1].At != event(3).At {
				t.Errorf("of %d bytes of events role %q has left %v, want the last %d", c.events, role, left, c.leftEvents)
			}
		}
	}
	empty := New()
	empty.Sweep(0, 0)
	if len(empty.Ended) != 0 || len(empty.Swept) != 0 {
		t.Errorf("an empty ledger becomes %+v", empty)
	}
}
