package coordinator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// TestWhyItDrains: work that has returned for good has returned, whatever came after; of what was
// given up before it began it is said why, or that it was not needed.
func TestWhyItDrains(t *testing.T) {
	disk, failure, maintenance := errors.New("no space"), errors.New("it failed"), errors.New("maintenance")
	for what, c := range map[string]struct {
		from  State
		view  machine.RoleView
		cause Cause
		err   error
	}{
		"it returned":             {Active, machine.RoleView{Done: true, Cause: ErrSessionLost}, CauseReturned, nil},
		"done, and never active":  {Activating, machine.RoleView{Done: true, Cause: ErrSessionLost}, CauseSessionLost, ErrSessionLost},
		"a stop":                  {Active, machine.RoleView{Cause: ErrStopping}, CauseStopping, maintenance},
		"a stall":                 {Active, machine.RoleView{Cause: ErrStalled}, CauseStalled, disk},
		"a deadline":              {Active, machine.RoleView{Cause: ErrDeadline}, CauseDeadline, ErrDeadline},
		"it failed":               {Active, machine.RoleView{}, CauseFailed, failure},
		"it was never begun with": {Activating, machine.RoleView{}, CauseUnused, nil},
	} {
		r := &runner{disk: disk, failures: map[string]error{"r": failure}}
		stop, cancel := context.WithCancelCause(t.Context())
		cancel(maintenance)
		r.stop = stop
		if cause, err := r.whyDraining("r", c.from, c.view); cause != c.cause || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %s, %v, want %s, %v", what, cause, err, c.cause, c.err)
		}
	}
}

// TestWorkThatIsDone: of work that returned for good it is said that it returned, also where the
// process has no other role and ends its session in the same step.
func TestWorkThatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recorder{begin: time.Now()}
		c := Config{ID: "a", Roles: []lock.Bid{{Role: "r"}}, Logger: r.logger()}
		locker := memory.New().Open()
		defer locker.Close()
		if err := Run(t.Context(), locker, c, func(context.Context, Term) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if trace := r.trace(); !strings.Contains(trace, `from=active to=draining reason="the work returned"`) || strings.Contains(trace, "WARN") {
			t.Error(trace)
		}
	})
}
