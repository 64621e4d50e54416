package machine

import "github.com/understudy-ha/understudy/lock"

// An Event is one thing that happened. Number is always the registration for which a call
// was made: the machine ignores what belongs to an earlier one.
type Event interface {
	role() string // the one role that the event is about; "": the session, or every role
}

// The events.
type (
	// Tick says that time has passed.
	Tick struct{}

	// Stop says that a stop was requested.
	Stop struct{}

	// Stood delivers a standing, received at At.
	Stood struct {
		At       Instant
		Standing lock.Standing
	}

	// Unseen says that the watch failed. Role is "" if it failed for every role.
	Unseen struct {
		Role    string
		Outcome lock.Outcome
	}

	// Registered says how a registration went. At is when its answer arrived. If Outcome is Held,
	// Holder has our contender ID; Dead: its process is proved dead.
	Registered struct {
		Number  int
		At      Instant
		Outcome lock.Outcome
		Holder  lock.Member
		Dead    bool
	}

	// Beaten says how a beat went whose call began at At.
	Beaten struct {
		Number  int
		At      Instant
		Outcome lock.Outcome
	}

	// Closed says how writing the session's end went.
	Closed struct {
		Number  int
		Outcome lock.Outcome
	}

	// Evicted says how the eviction of another session went.
	Evicted struct {
		Session lock.SessionID
		Outcome lock.Outcome
	}

	// Intended says how it went to write that this process is about to fence a session that was
	// silent since Beat.
	Intended struct {
		Session lock.SessionID
		Beat    lock.Beat
		Outcome lock.Outcome
	}

	// Fenced says how the fence command went. Dead: it succeeded in time, which is its word that
	// the host is dead.
	Fenced struct {
		Session lock.SessionID
		Beat    lock.Beat
		Dead    bool
	}

	// Acquired says how an acquisition went, and under which token.
	Acquired struct {
		Role    string
		Number  int
		Outcome lock.Outcome
		Token   lock.Token
	}

	// Released says how a release went.
	Released struct {
		Role    string
		Number  int
		Outcome lock.Outcome
	}

	// HandedOff says how a handoff went.
	HandedOff struct {
		Role    string
		Number  int
		Outcome lock.Outcome
	}

	// Returned says that the work returned.
	Returned struct {
		Role   string
		Number int
		How    Return
	}

	// Checked says how the health check went.
	Checked struct{ Healthy bool }

	// Wrote says how the canary's last write to the disk went.
	Wrote struct{ Disk Disk }

	// Stalled says that the work of a term makes no progress.
	Stalled struct {
		Role  string
		Token lock.Token
	}

	// Rebid says that the session's bids have changed.
	Rebid struct{}
)

func (Tick) role() string        { return "" }
func (Stop) role() string        { return "" }
func (e Stood) role() string     { return e.Standing.Role }
func (e Unseen) role() string    { return e.Role }
func (Registered) role() string  { return "" }
func (Beaten) role() string      { return "" }
func (Closed) role() string      { return "" }
func (Evicted) role() string     { return "" }
func (Intended) role() string    { return "" }
func (Fenced) role() string      { return "" }
func (e Acquired) role() string  { return e.Role }
func (e Released) role() string  { return e.Role }
func (e HandedOff) role() string { return e.Role }
func (e Returned) role() string  { return e.Role }
func (Checked) role() string     { return "" }
func (Wrote) role() string       { return "" }
func (e Stalled) role() string   { return e.Role }
func (Rebid) role() string       { return "" }

// A Disk is how the disk is that the work needs, as far as it is known.
type Disk uint8

// The disks.
const (
	Writable Disk = iota // or nobody looks
	Failing              // a write failed, or the first has no answer yet
	Hanging              // no write has returned for too long
)

// A Return is how the work returned.
type Return uint8

// The returns.
const (
	Failed    Return = iota
	Done             // for good
	Cancelled        // its context had ended
)
