package coordinator

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clocks reads the machine's clocks.
func Clocks() Instant {
	return Instant{
		Mono: read(unix.CLOCK_MONOTONIC),
		Raw:  read(unix.CLOCK_MONOTONIC_RAW),
		Boot: read(unix.CLOCK_BOOTTIME),
	}
}

// read cannot fail: Linux has had all three clocks since 2.6.39.
func read(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
