package machine

import "errors"

// Why the work of a term must stop.
var (
	ErrStopping    = errors.New("stop was asked for")
	ErrHandoff     = errors.New("handed over on request")
	ErrDeadline    = errors.New("no beat was acknowledged in time")
	ErrSessionLost = errors.New("the session was lost")
	ErrSuperseded  = errors.New("the store names another term")
	ErrUnhealthy   = errors.New("the health check failed")
	ErrDrained     = errors.New("an operator drained this contender")
	ErrPaused      = errors.New("an operator paused the role and stopped its work")
	ErrStalled     = errors.New("the work made no progress")
)

// Asked reports whether a term that ended for this cause was asked to end. Its work then has the
// stop timeout to return, with beats going on; after any other cause it has the grace.
func Asked(cause error) bool {
	for _, asked := range []error{ErrStopping, ErrHandoff, ErrUnhealthy, ErrDrained, ErrPaused} {
		if errors.Is(cause, asked) {
			return true
		}
	}
	return false
}
