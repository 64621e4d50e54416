package machine

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// Rules are what a configuration means to the machine.
type Rules struct {
	Nonce       string // of this process; a session's ID is this and the number of the registration
	TTL, Skew   time.Duration
	Grace       time.Duration
	StopTimeout time.Duration
	BeatEvery   time.Duration // of a session that holds a role, or is taking one
	IdleEvery   time.Duration // of one that only stands by
	Try         time.Duration // one attempt at a call
	HedgeFirst  time.Duration // from the first unacknowledged attempt at a beat to the second, at least
	HedgeCalm   time.Duration // the same when nothing is urgent
	HedgeNext   time.Duration // between the attempts after that
	Retry       time.Duration // between two attempts at anything else
	Turn        time.Duration // the contender of rank k waits k of these
	HoldFirst   time.Duration // hold-down after the first failure; doubles
	HoldMost    time.Duration
	CloseFor    time.Duration // a stop waits this long for the session's end to be written
	Exclusive   []string      // roles for which this process does not stand by
	Gated       bool          // the process is not healthy until Checked says so
	Disk        Disk          // until Wrote says how it is
	Fences      bool          // there is a fence command
}

// ID is the session ID of the n-th registration: new for each, never used again.
func (r Rules) ID(n int) lock.SessionID {
	return lock.SessionID(fmt.Sprintf("%s-%d", r.Nonce, n))
}

// never is longer than anybody waits.
const never = 1000 * time.Hour
