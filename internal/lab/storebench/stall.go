package storebench

import (
	"context"
	"slices"
	"testing"
	"time"
)

// Stall is how long beats stall when kill has ended the store's leader, beside how
// long a plain client's writes stall that are made as often meanwhile: the store's
// election. round prepares one death, and over ends it.
func Stall(b *testing.B, round func() (kill func(), beat, write func(context.Context) error, over func())) {
	var ours, theirs []time.Duration
	for b.Loop() {
		kill, beat, write, over := round()
		kill()
		begin := time.Now()
		election := make(chan time.Duration)
		go func() { election <- stall(b, begin, write) }()
		ours = append(ours, stall(b, begin, beat))
		theirs = append(theirs, <-election)
		over()
	}
	median := func(all []time.Duration) time.Duration { slices.Sort(all); return all[len(all)/2] }
	b.ReportMetric(float64(median(ours).Milliseconds()), "ms-beats")
	b.ReportMetric(float64(median(theirs).Milliseconds()), "ms-election")
	b.ReportMetric(0, "ns/op")
}

// stall makes hedged tries until one succeeds, as the coordinator does: a new one
// every 100 ms, each for a second, and returns how long that took.
func stall(b *testing.B, begin time.Time, try func(context.Context) error) time.Duration {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	done := make(chan struct{}, 1000)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if try(ctx) == nil {
				done <- struct{}{}
			}
		}()
		select {
		case <-done:
			return time.Since(begin)
		case <-ctx.Done():
			b.Error("writes never came back")
			return 0
		case <-tick.C:
		}
	}
}
