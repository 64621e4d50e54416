package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// An Op is what a command does.
type Op string

// The operations. Each is one call of package lock, including its Operator and Values, or of Keeper; Begin and Nothing
// are for a store that keeps a ledger.
const (
	Register   Op = "register"
	Beat       Op = "beat"
	Acquire    Op = "acquire"
	Release    Op = "release"
	Handoff    Op = "handoff"
	Close      Op = "close"
	Evict      Op = "evict"
	Ask        Op = "ask"
	Raise      Op = "raise"
	Write      Op = "write"
	Read       Op = "read"
	Adopt      Op = "adopt"
	Pause      Op = "pause"
	Resume     Op = "resume" // if Pause is still in force
	Configure  Op = "configure"
	Configured Op = "configured"
	Record     Op = "record"
	History    Op = "history"
	Fence      Op = "fence"
	Save       Op = "save"
	Restore    Op = "restore"
	Begin      Op = "begin" // gives the ledger its identity, if it has none
	Nothing    Op = "nothing"
)

// A Command is one call as data. A replicated log holds it as JSON.
type Command struct {
	Op        Op
	At        time.Time      `json:",omitzero"`  // the caller's wall clock; for people
	Identity  string         `json:",omitempty"` // of the ledger that the caller has seen: another one does nothing
	Name      string         `json:",omitempty"` // the ledger's identity from now on, if it has none
	Adopt     string         `json:",omitempty"` // the identity to adopt
	Session   lock.SessionID `json:",omitempty"`
	Contender lock.Contender `json:",omitzero"`
	Promise   lock.Promise   `json:",omitzero"`
	Bids      []lock.Bid     `json:",omitempty"`
	Role      string         `json:",omitempty"`
	Token     lock.Token     `json:",omitempty"` // Acquire: of the term that the caller read
	To        lock.SessionID `json:",omitempty"`
	Seen      lock.Beat      `json:",omitempty"`
	End       lock.End       `json:",omitzero"`
	Request   lock.Request   `json:",omitzero"`
	Pause     lock.Pause     `json:",omitzero"`
	Settings  lock.Settings  `json:",omitzero"` // Configure: for Contender.ID
	Event     lock.Event     `json:",omitzero"`
	Fence     lock.Fence     `json:",omitzero"`

	Values map[string][]byte `json:",omitempty"` // Write: nil deletes
	When   map[string][]byte `json:",omitempty"` // Write: only if these values are as given; nil: there is none
	Keys   []string          `json:",omitempty"` // Read
	Backup *Backup           `json:",omitempty"` // Restore
}

// A Code is the outcome of a command.
type Code string

// The codes: one for each of package lock's errors that a store can give.
const (
	OK         Code = ""
	Held       Code = "held"
	Lost       Code = "lost"
	Moved      Code = "moved"
	Differs    Code = "differs"
	Gone       Code = "gone"
	OtherStore Code = "other store"
	Permanent  Code = "permanent"
)

// A Result is the outcome of a command, and what it returns.
type Result struct {
	Code     Code                     `json:",omitempty"`
	Why      string                   `json:",omitempty"`
	Token    lock.Token               `json:",omitempty"`
	Held     *lock.HeldError          `json:",omitempty"`
	Values   map[string][]byte        `json:",omitempty"` // Read: those that exist
	Settings map[string]lock.Settings `json:",omitempty"` // Configured
	History  []lock.Event             `json:",omitempty"`
	Backup   *Backup                  `json:",omitempty"` // Save
	Seen     string                   `json:",omitempty"` // OtherStore: the command's Identity
	Identity string                   `json:",omitempty"` // the ledger's
	Changed  bool                     `json:",omitempty"` // more than a beat: watches should hear of it at once
	Revision uint64                   `json:",omitempty"` // at which the command was applied; set by the store
	Epoch    uint64                   `json:",omitempty"` // see Mark; set by the store
}

// Err returns the error of package lock that r means, or nil.
func (r Result) Err() error {
	switch r.Code {
	case OK:
		return nil
	case Held:
		return r.Held
	case Lost:
		if r.Why != "" {
			return fmt.Errorf("%w: %s", lock.ErrLost, r.Why)
		}
		return lock.ErrLost
	case Moved:
		return r.because(lock.ErrMoved)
	case Differs:
		return lock.ErrDiffers
	case Gone:
		return r.because(lock.ErrGone)
	case OtherStore:
		return &lock.OtherStoreError{Seen: r.Seen, Found: r.Identity}
	}
	return lock.Permanent(errors.New(r.Why))
}

// because adds the reason, if there is more to say.
func (r Result) because(err error) error {
	if r.Why == "" {
		return err
	}
	return fmt.Errorf("%s: %w", r.Why, err)
}
