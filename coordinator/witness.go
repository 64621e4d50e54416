package coordinator

import (
	"errors"

	"github.com/understudy-ha/understudy/lock"
)

// A Witness is a process beside this one that ends its session the moment it is dead,
// and that ends this process, and with it the work, where it cannot do so itself:
// because it was stopped, or hangs. Package witness has one. Run alone calls it. But for
// Start and Close nothing here blocks.
type Witness interface {
	// Start starts the witness of c's contender, before anything is registered. An error
	// that wraps errors.ErrUnsupported means that this platform has none, and Run goes on
	// without; any other ends Run.
	Start(c Config) error

	// Session names the session that is to be ended. It is called before the session is
	// registered, and with "" when its end is written.
	Session(id lock.SessionID)

	// Deadline says until when work may run: while it does, the process is killed then.
	// Within a session it never goes back.
	Deadline(at Instant)

	// Working is told 1 before a work starts, and -1 when it has returned.
	Working(change int)

	// Pulse says that the coordinator turns, and that the health check returns. The
	// process is killed when that was not said for c.HangTimeout.
	Pulse()

	// Close ends the witness: Run returns.
	Close()
}

// alone is the Witness where there is none.
type alone struct{}

func (alone) Start(Config) error     { return nil }
func (alone) Session(lock.SessionID) {}
func (alone) Deadline(Instant)       {}
func (alone) Working(int)            {}
func (alone) Pulse()                 {}
func (alone) Close()                 {}

// callWitness starts the witness, where there can be one.
func (c *Config) callWitness() error {
	if c.Witness == nil {
		c.Witness = alone{}
		return nil
	}
	err := c.Witness.Start(*c)
	if errors.Is(err, errors.ErrUnsupported) {
		c.Logger.Warn("no witness: a crash or a hang costs the ttl", "id", c.ID, "error", err)
		c.Witness, err = alone{}, nil
	}
	return err
}

// witnessed reports whether a witness stands by.
func (c *Config) witnessed() bool { return c.Witness != Witness(alone{}) }
