package ledger

import (
	"maps"
	"testing"
)

// TestHolding: of two acknowledgements of one ledger the later counts, and after it was put back
// nothing from before. Another ledger counts only where ours was adopted by it.
func TestHolding(t *testing.T) {
	for _, c := range []struct {
		seen       string
		mark, want Mark
		kept       bool // what our calls changed
	}{
		{"x", Mark{"x", 7, 1}, Mark{"x", 7, 1}, true},
		{"x", Mark{"x", 3, 1}, Mark{"x", 5, 1}, true},
		{"x", Mark{"x", 2, 2}, Mark{"x", 2, 2}, false},
		{"", Mark{"x", 2, 2}, Mark{"x", 2, 2}, false}, // asked before anything was seen
		{"x", Mark{"x", 9, 0}, Mark{"x", 5, 1}, true},
		{"x", Mark{"y", 2, 0}, Mark{"y", 2, 0}, false}, // it has adopted ours
		{"w", Mark{"y", 9, 2}, Mark{"x", 5, 1}, true},
	} {
		l := &locker{acked: Mark{"x", 5, 1}, changed: map[string]uint64{"r": 4}}
		l.hold(c.seen, c.mark)
		if l.acked != c.want || maps.Equal(l.changed, map[string]uint64{"r": 4}) != c.kept {
			t.Errorf("%v by one who saw %q: held to %v, and %v is changed", c.mark, c.seen, l.acked, l.changed)
		}
	}
}

// TestLate: a view is late for a change of ours that was made later in the same ledger, or for a
// ledger that was put back since. What another ledger has changed is not compared.
func TestLate(t *testing.T) {
	for _, c := range []struct {
		change Result
		view   View
		want   bool
	}{
		{Result{Identity: "x", Revision: 6, Epoch: 1}, View{Identity: "x", Revision: 5, Epoch: 1}, true},
		{Result{Identity: "x", Revision: 6, Epoch: 1}, View{Identity: "x", Revision: 6, Epoch: 1}, false},
		{Result{Identity: "x", Revision: 6, Epoch: 1}, View{Identity: "x", Revision: 9, Epoch: 0}, true},
		{Result{Identity: "x", Revision: 6, Epoch: 1}, View{Identity: "x", Revision: 1, Epoch: 2}, false},
		{Result{Identity: "x", Revision: 6, Epoch: 0}, View{Identity: "x", Revision: 5, Epoch: 1}, false},
		{Result{Identity: "y", Revision: 6, Epoch: 1}, View{Identity: "x", Revision: 5, Epoch: 1}, false},
		{Result{Identity: "x", Revision: 6, Epoch: 1}, View{Identity: "y", Revision: 5, Epoch: 2}, true},
		{Result{Identity: "x", Revision: 6, Epoch: 1}, View{Identity: "y", Revision: 7, Epoch: 0}, false},
	} {
		l := &locker{acked: Mark{"x", 6, 1}, changed: map[string]uint64{}}
		l.change("r", c.change)
		if got := l.late(c.view, "r"); got != c.want {
			t.Errorf("%+v is late after %+v: %v", c.view, c.change, got)
		}
	}
}

// TestLookingOn is from what was seen, or from what was acknowledged, whichever is later.
func TestLookingOn(t *testing.T) {
	for seen, want := range map[Mark]Mark{
		{}:            {"x", 4, 1},
		{"x", 9, 1}:   {"x", 9, 1},
		{"x", 2, 1}:   {"x", 4, 1},
		{"", 9, 1}:    {"x", 9, 1},
		{"x", 9, 0}:   {"x", 4, 1}, // it was put back since
		{"x", 2, 2}:   {"x", 2, 2},
		{"y", 2, 0}:   {"y", 2, 0}, // until that changes
		{"y", 2, 1}:   {"y", 2, 1},
		{"old", 9, 2}: {"old", 9, 2},
	} {
		l := &locker{acked: Mark{"x", 5, 1}}
		if got := l.after(seen); got != want {
			t.Errorf("after %v it looks on from %v, want %v", seen, got, want)
		}
	}
}
