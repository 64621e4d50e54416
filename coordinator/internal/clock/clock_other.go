//go:build !linux

// Package clock reads the machine's clocks, and rings when a time has passed on them.
package clock

import (
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
)

var started = time.Now()

// Now reads the machine's clocks. Only on Linux are there a clock that counts sleep and one that
// is not slewed; elsewhere all three are Go's monotonic clock, and the wall clock replaces the
// one that counts sleep if it shows more.
func Now() machine.Instant {
	now := time.Now()
	d := now.Sub(started)
	return machine.Instant{Mono: d, Raw: d, Boot: max(d, time.Duration(now.UnixNano()-started.UnixNano()))}
}

// An Alarm that rings by a clock that counts sleep exists only on Linux.
type Alarm struct{ Rings chan struct{} }

// NewAlarm returns nil: there is none.
func NewAlarm() *Alarm { return nil }

// Set reports that the alarm will not ring.
func (a *Alarm) Set(time.Duration) bool { return false }

// Close does nothing.
func (a *Alarm) Close() {}
