package ledger

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// An unsteady store fails once, and says the same every other time.
type unsteady struct {
	Store
	fails, looks int
}

func (u *unsteady) Look(ctx context.Context, after Mark, _ ...string) (View, error) {
	u.looks++
	if u.looks == u.fails {
		return View{}, errors.New("out")
	}
	if after.Revision >= 5 {
		<-ctx.Done()
		return View{}, ctx.Err()
	}
	return View{Standings: []lock.Standing{{Role: "r"}}, Revision: 5}, nil
}

// TestWatchTellsTheEndOfAnOutage: what stands is yielded again after an error, though
// nothing has changed; and for the first time, if the error comes first.
func TestWatchTellsTheEndOfAnOutage(t *testing.T) {
	for fails, want := range map[int][]bool{1: {true, false}, 2: {false, true, false}} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var errs []bool
		for _, err := range NewLocker(&unsteady{fails: fails}).Watch(ctx, "r") {
			if errs = append(errs, err != nil); len(errs) == len(want) {
				break
			}
		}
		cancel()
		if !slices.Equal(errs, want) {
			t.Errorf("when look %d fails, the watch yields errors %v, want %v", fails, errs, want)
		}
	}
}

// TestAfter: a view is after a mark that is of another ledger, or of a smaller revision.
func TestAfter(t *testing.T) {
	for _, c := range []struct {
		view, mark Mark
		want       bool
	}{
		{Mark{"x", 5, 0}, Mark{"x", 4, 0}, true},
		{Mark{"x", 5, 0}, Mark{"x", 5, 0}, false},
		{Mark{"x", 5, 0}, Mark{"y", 7, 0}, true},
		{Mark{"x", 5, 0}, Mark{"", 7, 0}, false},  // any ledger's
		{Mark{"", 5, 0}, Mark{"x", 7, 0}, false},  // a late copy
		{Mark{"x", 5, 1}, Mark{"x", 7, 0}, true},  // it was put back
		{Mark{"x", 7, 0}, Mark{"x", 5, 1}, false}, // from before that
		{Mark{"x", 7, 0}, Mark{"y", 5, 1}, false},
	} {
		if got := (View{Identity: c.view.Identity, Revision: c.view.Revision, Epoch: c.view.Epoch}).After(c.mark); got != c.want {
			t.Errorf("%v is after %v: %v", c.view, c.mark, got)
		}
	}
}
