package coordinator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestStalledWork: work that makes no progress is told to stop, its role goes to another, and it is
// last in line for a while. Work that makes progress keeps it.
func TestStalledWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		var told atomic.Pointer[error]
		a := config("a")
		a.Watchdog = 2 * time.Second
		a.Roles[0].Priority = 5
		stopA := s.contend(a, func(ctx context.Context, term Term) error {
			for range 10 {
				time.Sleep(1900 * time.Millisecond)
				term.Progress()
			}
			<-ctx.Done() // it stalls
			cause := context.Cause(ctx)
			told.Store(&cause)
			if !term.Valid() || Asked(cause) {
				t.Errorf("told for %v, which is asked: %v; valid: %v", cause, Asked(cause), term.Valid())
			}
			return nil
		})
		time.Sleep(time.Second)
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(17 * time.Second)
		s.want("a")
		if cause := told.Load(); cause != nil {
			t.Errorf("told to stop for %v, with progress", *cause)
		}
		time.Sleep(4 * time.Second)
		s.want("a", "b")
		if cause := *told.Load(); !errors.Is(cause, ErrStalled) || CauseOf(cause) != CauseStalled {
			t.Errorf("told to stop for %v", cause)
		}
		s.ready(map[string]bool{"a": false})
		time.Sleep(2 * time.Minute)
		s.ready(map[string]bool{"a": true})
		_ = stopA()
		_ = stopB()
	})
}

// TestStalledForever: work that does not return when it was told ends the process after the grace.
func TestStalledForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		r := &recorder{begin: time.Now()}
		c := config("a")
		c.Watchdog, c.Logger = time.Second, r.logger()
		ends := make(chan struct{})
		c.Exit = func() { close(ends) }
		stop := s.contend(c, func(ctx context.Context, _ Term) error {
			<-ctx.Done()
			told := time.Now()
			<-ends
			if after := time.Since(told); after < c.Defaults().Grace || after > c.Defaults().Grace+time.Millisecond {
				t.Errorf("the process ends after %v", after)
			}
			return nil
		})
		<-ends
		_ = stop()
		if !strings.Contains(r.trace(), `reason="the work made no progress"`) {
			t.Error(r.trace())
		}
	})
}

// TestStalledAlone: where nobody else stands by, work that stalls begins anew after a pause, and
// stands last only until it makes progress again.
func TestStalledAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		c := config("a")
		c.Watchdog = time.Second
		terms := 0
		stop := s.contend(c, func(ctx context.Context, term Term) error {
			for terms++; terms > 1 && ctx.Err() == nil; time.Sleep(500 * time.Millisecond) {
				term.Progress()
			}
			<-ctx.Done()
			return nil
		})
		time.Sleep(20 * time.Second)
		s.want("a", "a")
		b := config("b")
		stopB := s.contend(b, untilTold)
		time.Sleep(time.Second)
		_ = stop()
		time.Sleep(time.Second)
		s.want("a", "a", "b")
		_ = stopB()
	})
}

// TestWatchdogLimits names the limit and what to write instead.
func TestWatchdogLimits(t *testing.T) {
	for value, ok := range map[time.Duration]bool{0: true, time.Millisecond: false, -time.Second: false, 100 * time.Millisecond: true, 10 * time.Second: true, 11 * time.Second: false} {
		c := config("a")
		c.Watchdog = value
		err := c.Defaults().Validate()
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "from 100ms to ttl = 10s; leave it out for none") {
			t.Errorf("%v: %v", value, err)
		}
	}
	if !slices.Contains(Causes(), CauseStalled) {
		t.Error("Causes lacks a cause")
	}
}
