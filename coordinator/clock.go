package coordinator

import "time"

// An Instant is one reading of the machine's clocks, each from a start of its
// own. Between two instants each clock may have gone another way: one is slewed,
// one stands still while the machine sleeps. Whoever decides believes the clock
// that is worse for itself.
type Instant struct {
	Mono time.Duration // CLOCK_MONOTONIC: slewed, without sleep
	Raw  time.Duration // CLOCK_MONOTONIC_RAW: not slewed, without sleep
	Boot time.Duration // CLOCK_BOOTTIME: slewed, with sleep
}

// Virtual is an Instant by time.Now on every clock.
func Virtual() Instant {
	d := time.Duration(time.Now().UnixNano())
	return Instant{d, d, d}
}

// most is how much time may have passed since then: what an owner believes.
func (i Instant) most(then Instant) time.Duration {
	return max(i.Boot-then.Boot, i.Raw-then.Raw)
}

// least is how much time has passed since then for sure: what an observer
// believes.
func (i Instant) least(then Instant) time.Duration {
	return min(i.Mono-then.Mono, i.Raw-then.Raw)
}

// plus is the instant d later.
func (i Instant) plus(d time.Duration) Instant {
	return Instant{i.Mono + d, i.Raw + d, i.Boot + d}
}

// until is how long it is, at most, to the instant then.
func (i Instant) until(then Instant) time.Duration { return -i.most(then) }
