package object_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/object/objectmem"
)

// try is the time that a coordinator gives one call, at the ttl of this package's tests.
const try = 10 * time.Second / 8

// TestBusyNeighbour: a process that never stops writing leaves room for the others, also where it is
// nearer to the store than they are, and where they hear nothing of changes and poll.
func TestBusyNeighbour(t *testing.T) {
	for name, c := range map[string]struct {
		near, far, news time.Duration
	}{
		"as near":             {4 * time.Millisecond, 4 * time.Millisecond, time.Millisecond},
		"as near, and polled": {4 * time.Millisecond, 4 * time.Millisecond, 100 * time.Millisecond},
		"half as near":        {4 * time.Millisecond, 8 * time.Millisecond, 100 * time.Millisecond},
		"five times as far":   {4 * time.Millisecond, 20 * time.Millisecond, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, ctx context.Context) {
				server := objectmem.New()
				busy, other := slow(open(t, server), c.near, 0), slow(open(t, server), c.far, c.news)
				sb, so := busy.register(ctx, "busy"), other.register(ctx, "other")
				callers, stop := context.WithCancel(ctx)
				var all sync.WaitGroup
				for range 8 {
					all.Go(func() {
						for callers.Err() == nil {
							if one := time.Now(); sb.Beat(callers) == nil && time.Since(one) > try {
								t.Errorf("its own beat took %v, want at most %v", time.Since(one), try)
							}
						}
					})
				}
				time.Sleep(time.Second) // by then its burst is long
				for range 50 {
					one := time.Now()
					if err := so.Beat(ctx); err != nil || time.Since(one) > try {
						t.Errorf("a beat beside it: %v after %v, want at most %v", err, time.Since(one), try)
						break
					}
				}
				stop()
				all.Wait()
			})
		})
	}
}

// slow has each call take about this long there and back.
func slow(p process, trip, news time.Duration) process {
	p.client.On(func(c objectmem.Call) objectmem.Fault {
		d := trip/2 + rand.N(trip/4)
		if c.Name == "News" {
			return objectmem.Fault{Fault: kvmem.Delay(news, 0)}
		}
		return objectmem.Fault{Fault: kvmem.Delay(d, d)}
	})
	return p
}
