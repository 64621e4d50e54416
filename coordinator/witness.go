package coordinator

import (
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/process"
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

// checkLockFile says why Config.LockFile cannot be one.
func (c Config) checkLockFile() error {
	checked := make(chan error, 1)
	go func() { checked <- process.Check(c.LockFile) }()
	select {
	case err := <-checked:
		return err
	case <-time.After(c.Try()):
		return nil
	}
}

// takeLockFile takes Config.LockFile, if there is one, before anything is started that must have it, too. What succeeds only
// after this process has gone on could prove what is not so: a disk that does not answer ends Run.
func (r *runner) takeLockFile() error {
	if r.config.LockFile == "" {
		return nil
	}
	type outcome struct {
		file *process.Lockfile
		err  error
	}
	patience := r.config.Try()
	taken := make(chan outcome, 1)
	go func() {
		file, err := process.Take(r.config.LockFile, r.machine.Nonce, patience)
		taken <- outcome{file, err}
	}()
	select {
	case t := <-taken:
		if errors.Is(t.err, process.ErrNoProof) {
			r.config.Logger.Warn("the lock file is of no use: a restart may have to wait for the promise of the process before it", "id", r.config.ID, "error", t.err)
			return nil
		}
		r.locked = t.file
		return lock.InFields(t.err, "LockFile")
	case <-time.After(3 * patience):
		return lock.InFields(fmt.Errorf("%q: its disk has not answered for %v; name a file on another disk, or on a tmpfs", r.config.LockFile, 3*patience), "LockFile")
	}
}
