package machine

import (
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// An Action is one thing to do. Each call to the store is answered by the event that is named
// after it, exactly once.
type Action interface{ action() }

// The actions.
type (
	// Register registers the session of this number.
	Register struct{ Number int }

	// Beat renews the session.
	Beat struct{ Number int }

	// Close writes the session's end, and with it that of every term it holds.
	Close struct{ Number int }

	// Evict ends another session, if Beat is still its beat.
	Evict struct {
		Session lock.SessionID
		Beat    lock.Beat
	}

	// Intend writes that this process is about to have the host of a session killed that has the
	// role under Token, if Beat is still its beat and nobody else has written so.
	Intend struct {
		Role    string
		Token   lock.Token
		Session lock.SessionID
		Beat    lock.Beat
	}

	// Fence runs the fence command against the host of a session that has the role, For so long
	// at most. Nothing waits for it. Fenced answers it, in the end.
	Fence struct {
		Role    string
		Session lock.SessionID
		Beat    lock.Beat
		For     time.Duration
	}

	// Acquire tries to take the role.
	Acquire struct {
		Role   string
		Number int
	}

	// Release gives the role back.
	Release struct {
		Role   string
		Number int
		Token  lock.Token
	}

	// Handoff gives the role to another session.
	Handoff struct {
		Role   string
		Number int
		Token  lock.Token
		To     lock.SessionID
	}

	// Start starts the role's work.
	Start struct {
		Role   string
		Number int
		Token  lock.Token
	}

	// Cancel tells the work to stop, and why. A stronger cause may follow a weaker one.
	Cancel struct {
		Role  string
		Cause error
	}

	// Exit ends the process: the work outlived its time.
	Exit struct {
		Role  string
		Token lock.Token
	}

	// Fail gives up.
	Fail struct {
		Why  Failure
		Role string // the one that Why is about, if any
	}
)

func (Register) action() {}
func (Beat) action()     {}
func (Close) action()    {}
func (Evict) action()    {}
func (Intend) action()   {}
func (Fence) action()    {}
func (Acquire) action()  {}
func (Release) action()  {}
func (Handoff) action()  {}
func (Start) action()    {}
func (Cancel) action()   {}
func (Exit) action()     {}
func (Fail) action()     {}

// A Failure is why there is nothing to compete for.
type Failure uint8

// The failures.
const (
	NotRegistered Failure = iota // the store refuses the session for good, or another process has our ID
	RoleTaken                    // another contender works, and this one was told not to stand by
	AllRefused                   // the store has refused every role for a whole promise
)
