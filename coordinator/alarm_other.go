//go:build !linux

package coordinator

import "time"

// An alarm that rings by a clock that counts sleep is Linux's alone.
type alarm struct{ rings chan struct{} }

func newAlarm() *alarm                  { return nil }
func (a *alarm) set(time.Duration) bool { return false }
func (a *alarm) close()                 {}
