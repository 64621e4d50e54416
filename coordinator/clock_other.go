//go:build !linux

package coordinator

import (
	"time"
)

var started = time.Now()

// Clocks reads the machine's clocks. Only Linux is asked for a clock that counts
// sleep and for one that is not slewed; elsewhere all three are Go's monotonic
// clock, and the wall clock stands in for the one that counts sleep where it
// shows more.
func Clocks() Instant {
	now := time.Now()
	d := now.Sub(started)
	return Instant{Mono: d, Raw: d, Boot: max(d, time.Duration(now.UnixNano()-started.UnixNano()))}
}

// An alarm that rings by a clock that counts sleep is Linux's alone.
type alarm struct{ rings chan struct{} }

func newAlarm() *alarm                  { return nil }
func (a *alarm) set(time.Duration) bool { return false }
func (a *alarm) close()                 {}
