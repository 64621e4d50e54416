package backoff

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestGate: of callers that never stop, few pass while each call fails at once, the first ones soon;
// and all pass as soon as one call is answered.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		var up atomic.Bool
		var passed, early, answered atomic.Int32
		begun := time.Now()
		for range 50 {
			go func() {
				for answered.Load() < 1000 && g.Wait(t.Context()) == nil {
					if up.Load() {
						answered.Add(1)
						g.Answered()
						continue
					}
					if passed.Add(1); time.Since(begun) < 200*time.Millisecond {
						early.Add(1)
					}
					g.Failed(Most(10 * time.Second))
				}
			}()
		}
		time.Sleep(10 * time.Second) // of the bubble
		if n := passed.Load(); n > 40 || n < 10 {
			t.Errorf("%d calls in 10 s, want 10 to 40", n)
		}
		if n := early.Load(); n < 4 {
			t.Errorf("%d of them in the first 200 ms, want 4 at least", n)
		}
		up.Store(true)
		time.Sleep(Most(10 * time.Second))
		if n := answered.Load(); n < 1000 {
			t.Errorf("%d calls passed after the store was back, want 1000", n)
		}
	})
}

// TestGateOfOneThatHangs: a call without an answer keeps nobody for longer than a pause, and who
// waits obeys its context.
func TestGateOfOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		for range 20 {
			if err := g.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.Failed(time.Second)
		}
		for range 3 { // none of these is heard of
			begun := time.Now()
			if err := g.Wait(t.Context()); err != nil || time.Since(begun) > time.Second || time.Since(begun) < time.Second/2 {
				t.Errorf("after %v: %v, want a second at most", time.Since(begun), err)
			}
		}
		if g.Enter() {
			t.Error("it is open before its time")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestMost: half of a try where a ttl is known, which is ttl/8.
func TestMost(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		0: 250 * time.Millisecond, 100 * time.Millisecond: Least, time.Second: time.Second / 16, 10 * time.Second: 625 * time.Millisecond, time.Hour: time.Second,
	} {
		if got := Most(ttl); got != want {
			t.Errorf("Most(%v) = %v, want %v", ttl, got, want)
		}
	}
}
