package coordinator

import (
	"errors"

	"github.com/understudy-ha/understudy/lock"
)

// A Witness is a second process that ends the session the moment this one is dead. It also ends
// this process, and with it the work, when it cannot do so itself because it was stopped or
// hangs. Package witness has one. Only Run calls it. Only Start and Close may block.
type Witness interface {
	// Start starts the witness of c's contender, before anything is registered. An error that
	// wraps errors.ErrUnsupported means that this platform has none, and Run goes on without; any
	// other ends Run.
	Start(c Config) error

	// Session names the session that is to be ended. It is called before the session is
	// registered, and with "" when its end is written.
	Session(id lock.SessionID)

	// Deadline says until when work may run: if work still runs then, the process is killed.
	// Within a session it never goes back.
	Deadline(at Instant)

	// Working is called with 1 before a work starts, and with -1 when it has returned.
	Working(change int)

	// Pulse says that the coordinator turns, and that the health check returns. The process is
	// killed if it is not called for c.HangTimeout.
	Pulse()

	// Close ends the witness: Run returns.
	Close()
}

// alone is the Witness of a process that has none.
type alone struct{}

func (alone) Start(Config) error     { return nil }
func (alone) Session(lock.SessionID) {}
func (alone) Deadline(Instant)       {}
func (alone) Working(int)            {}
func (alone) Pulse()                 {}
func (alone) Close()                 {}

// callWitness starts the witness, if there can be one.
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

// witnessed reports whether there is a witness.
func (c *Config) witnessed() bool { return c.Witness != Witness(alone{}) }
