// Package tally counts durations for histograms, without locks.
package tally

import (
	"sync/atomic"
	"time"
)

// A Histogram counts durations.
type Histogram struct {
	Count  uint64
	Sum    time.Duration
	Within map[time.Duration]uint64 // how many were at most this long, for each of some bounds
}

// A Tally is a Histogram that is being written. It is safe for concurrent use, and never waits.
type Tally struct {
	counts [len(bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

// bounds are the bounds of every Histogram.
var bounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Add counts one duration.
func (t *Tally) Add(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	t.counts[i].Add(1)
	t.sum.Add(int64(d))
}

// Read returns what was counted so far.
func (t *Tally) Read() Histogram {
	h := Histogram{Sum: time.Duration(t.sum.Load()), Within: map[time.Duration]uint64{}}
	for i, bound := range bounds {
		h.Count += t.counts[i].Load()
		h.Within[bound] = h.Count
	}
	h.Count += t.counts[len(bounds)].Load()
	return h
}
