package ledger

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// An unsteady store answers once, fails once, and has nothing new then.
type unsteady struct {
	Store
	looks int
}

func (u *unsteady) Look(ctx context.Context, after Mark, _ ...string) (View, error) {
	u.looks++
	if u.looks == 2 {
		return View{}, errors.New("out")
	}
	if after.Revision >= 5 {
		<-ctx.Done()
		return View{}, ctx.Err()
	}
	return View{Standings: []lock.Standing{{Role: "r"}}, Revision: 5}, nil
}

// TestWatchTellsTheEndOfAnOutage: what stands is yielded again after an error, though
// nothing has changed.
func TestWatchTellsTheEndOfAnOutage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var errs []bool
	for _, err := range NewLocker(&unsteady{}).Watch(ctx, "r") {
		if errs = append(errs, err != nil); len(errs) == 3 {
			break
		}
	}
	if len(errs) != 3 || errs[0] || !errs[1] || errs[2] {
		t.Errorf("the watch yields errors %v, want a standing, an error, a standing", errs)
	}
}
