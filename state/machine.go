package state

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// A Machine is the state, as its user writes it. It must be deterministic: equal machines and equal
// commands stay equal. So it reads no clock, no random number, and no order of a map; what it needs of
// these is in the command. Package statetest proves that. No two of its methods are called at once,
// except that Snapshot and the functions given to Log.Read may run beside each other.
type Machine interface {
	// Apply changes the state by a command. It cannot fail: a command that cannot be done changes
	// nothing, or notes that. It may keep the command. It must return soon: nothing else is applied
	// meanwhile.
	Apply(command []byte)

	// Snapshot writes the whole state. It changes nothing. Appends wait for it.
	Snapshot(w io.Writer) error

	// Restore reads what Snapshot wrote, into a machine that is new.
	Restore(r io.Reader) error
}

// Options are what a Log can be told. The zero Options are good.
type Options struct {
	// MaxLag is how old this process's state may be for it to be ready to take over, see Log.Ready:
	// default 5 s.
	MaxLag time.Duration

	// Every is how many bytes of entries are kept before a snapshot takes their place: default 256 KiB,
	// or the size of the last snapshot if that is more.
	Every int

	// Try is how long one call to the store may take before it is made again: default 2 s.
	Try time.Duration

	// Skip are commands that no machine applies, by an operator's decision: as a PanicError names
	// them. The next term of this process notes them in the log, for all.
	Skip []Command

	// Now reads the clocks: coordinator.Clocks by default. coordinator.Virtual fits a
	// testing/synctest bubble.
	Now func() coordinator.Instant
}

// A Command is the place of a command in the log.
type Command struct {
	Position uint64 // of its entry
	Index    int    // in its entry
}

// String is POSITION/INDEX.
func (c Command) String() string { return fmt.Sprintf("%d/%d", c.Position, c.Index) }

// refresh is how often a standby looks whether it knows everything, whether or not it has heard of
// a change.
const refresh = time.Second

// retry is the pause after a call that failed.
const retry = 100 * time.Millisecond

func (o Options) defaults() Options {
	if o.MaxLag == 0 {
		o.MaxLag = 5 * time.Second
	}
	if o.Try == 0 {
		o.Try = 2 * time.Second
	}
	if o.Every == 0 {
		o.Every = 256 << 10
	}
	if o.Now == nil {
		o.Now = coordinator.Clocks
	}
	return o
}

func (o Options) validate() error {
	var errs []error
	if o.MaxLag < 2*refresh {
		errs = append(errs, lock.InFields(fmt.Errorf("%v must be at least %v; leave it out for 5s", o.MaxLag, 2*refresh), "MaxLag"))
	}
	if o.Try < 10*time.Millisecond {
		errs = append(errs, lock.InFields(fmt.Errorf("%v must be at least 10ms; leave it out for 2s", o.Try), "Try"))
	}
	if o.Every < 1 {
		errs = append(errs, lock.InFields(fmt.Errorf("%d must be at least 1; leave it out for 256 KiB", o.Every), "Every"))
	}
	return lock.Permanent(errors.Join(errs...))
}

// ErrUnknown means that a command may have been appended, or may still be. Ask the state, after
// the next term has begun.
var ErrUnknown = errors.New("the outcome is unknown")

// ErrNotLoaded means that this process has not read the log yet.
var ErrNotLoaded = errors.New("the log has not been read yet")

// A PanicError says on which command a machine panicked. The machine is not used any more.
type PanicError struct {
	Role    string
	Command Command // the zero one: Snapshot or Restore panicked
	Value   any
	Stack   []byte
	Skipped bool // it was not acknowledged, and nobody else will apply it
}

// Error names the command, and what to do.
func (e *PanicError) Error() string {
	text := fmt.Sprintf("the machine of role %q panicked", e.Role)
	switch {
	case e.Command == Command{}:
		return text + fmt.Sprintf(" in Snapshot or Restore: %v", e.Value)
	case e.Skipped:
		return text + fmt.Sprintf(" on command %v, which was not acknowledged, and is skipped from now on: %v", e.Command, e.Value)
	}
	return text + fmt.Sprintf(" on command %v: start a program that can apply it, or drop it for good with Options.Skip: %v", e.Command, e.Value)
}

// safely calls a method of a machine. It does not outlive a panic of its own.
func safely(role string, c Command, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Role: role, Command: c, Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
