package admin

import (
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/coordinator"
)

var errNotBegun = errors.New("it is starting: the store is not open yet")

// dead is why a process should be restarted; nil: it need not be.
func dead(p coordinator.ProcessStatus, roles []coordinator.RoleStatus) error {
	if p.Late > p.Limit {
		return fmt.Errorf("the coordinator hangs: it should have turned %v ago", p.Late)
	}
	for _, r := range roles {
		if r.Outlived > 0 {
			return fmt.Errorf("the work of role %q has outlived its promise by %v", r.Role, r.Outlived)
		}
	}
	return nil
}

// unready is why none of a process's roles is active here, or can be; nil: one is or can.
func unready(p coordinator.ProcessStatus, roles []coordinator.RoleStatus) error {
	if err := dead(p, roles); err != nil {
		return err
	}
	why := errNotBegun
	for i, r := range roles {
		err := unfit(p, r)
		if err == nil {
			return nil
		}
		if i == 0 {
			why = err
		}
	}
	return why
}

// unfit is why a role is neither active here nor can be; nil: it is or can. An active is judged
// by its promise alone, and a standby is judged no more strictly: otherwise a rolling update
// would wait for ever.
func unfit(p coordinator.ProcessStatus, r coordinator.RoleStatus) error {
	switch {
	case p.Late > p.Limit:
		return fmt.Errorf("the coordinator hangs: it should have turned %v ago", p.Late)
	case r.Works():
		return nil
	case r.State != coordinator.Standby && r.State != coordinator.Activating:
		return stateError(r)
	case p.Unhealthy != nil:
		return fmt.Errorf("it is not known to be healthy: %w", p.Unhealthy)
	case p.Blind():
		return fmt.Errorf("the store has not answered for %v", p.Silent)
	}
	return nil
}

// idler is why a role is not active here at this moment; nil: it is.
func idler(r coordinator.RoleStatus) error {
	switch {
	case r.Works():
		return nil
	case r.State == coordinator.Active:
		return errors.New("its promise is over")
	}
	return stateError(r)
}

// stateError says which state a role is in, and why.
func stateError(r coordinator.RoleStatus) error {
	if r.Reason != nil {
		return fmt.Errorf("it is %s: %w", r.State, r.Reason)
	}
	return fmt.Errorf("it is %s (%s)", r.State, r.Cause)
}
