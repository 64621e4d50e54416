package machine

import "time"

// An Instant is one reading of a machine's three clocks, each counted from its own start. The
// clocks may have advanced differently between two instants: one is slewed, one stands still
// while the machine sleeps. Each side trusts the clock that is worse for itself: see Most and
// Least.
type Instant struct {
	Mono time.Duration // CLOCK_MONOTONIC: slewed, excludes sleep
	Raw  time.Duration // CLOCK_MONOTONIC_RAW: not slewed, excludes sleep
	Boot time.Duration // CLOCK_BOOTTIME: slewed, includes sleep
}

// Most is the longest time that may have passed since then. An owner trusts it.
func (i Instant) Most(then Instant) time.Duration {
	return max(i.Boot-then.Boot, i.Raw-then.Raw)
}

// Least is the time that has certainly passed since then. An observer trusts it.
func (i Instant) Least(then Instant) time.Duration {
	return min(i.Mono-then.Mono, i.Raw-then.Raw)
}

// Plus is the instant d later.
func (i Instant) Plus(d time.Duration) Instant {
	return Instant{i.Mono + d, i.Raw + d, i.Boot + d}
}

// Until is the shortest time that may remain until then.
func (i Instant) Until(then Instant) time.Duration { return -i.Most(then) }

// IsZero reports whether i is the zero Instant, which means "never".
func (i Instant) IsZero() bool { return i == Instant{} }
