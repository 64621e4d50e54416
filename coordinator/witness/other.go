//go:build !linux

package witness

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

// A Witness exists only on Linux.
type Witness struct{}

// New returns a witness whose Start says that there is none.
func New(any) *Witness { return &Witness{} }

// By returns a witness whose Start says that there is none.
func By(string, any) *Witness { return &Witness{} }

// Main returns at once.
func Main(Open) {}

// Start says that there is no witness.
func (*Witness) Start(coordinator.Config) error {
	return fmt.Errorf("%w: a witness needs Linux, this is %s; the ttl is the bound", errors.ErrUnsupported, runtime.GOOS)
}

// Guard does nothing.
func (*Witness) Guard(procgroup.ID) error { return nil }

// Forget does nothing.
func (*Witness) Forget(procgroup.ID) {}

// PID is 0.
func (*Witness) PID() int { return 0 }

// Session is coordinator.Witness's.
func (*Witness) Session(lock.SessionID) {}

// Deadline is coordinator.Witness's.
func (*Witness) Deadline(coordinator.Instant) {}

// Working is coordinator.Witness's.
func (*Witness) Working(int) {}

// Pulse is coordinator.Witness's.
func (*Witness) Pulse() {}

// Close does nothing.
func (*Witness) Close() {}
