package coordinator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestReady lets a standby that is not ready stand behind one that came later and has
// a smaller priority, until it is; and lets it take over where nobody is ready.
func TestReady(t *testing.T) {
	for _, c := range []struct {
		name     string
		bReady   bool // by the time of the takeover
		cReady   bool
		next     string
		priority int // of b; c has none
	}{
		{"b is not ready", false, true, "c", 5},
		{"b became ready", true, true, "b", 5},
		{"nobody is ready", false, false, "b", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				stopA := s.contend(config("a"), untilTold)
				time.Sleep(time.Second)
				var bReady atomic.Bool
				b := config("b")
				b.Roles[0].Priority = c.priority
				b.Ready = func(string) bool { return bReady.Load() }
				stopB := s.contend(b, untilTold)
				time.Sleep(time.Second)
				other := config("c")
				other.Ready = func(string) bool { return c.cReady }
				stopC := s.contend(other, untilTold)
				time.Sleep(time.Minute)
				bReady.Store(c.bReady)
				time.Sleep(time.Minute)
				s.ready(map[string]bool{"b": c.bReady, "c": c.cReady})
				_ = stopA()
				time.Sleep(time.Second)
				s.want("a", c.next)
				_ = stopB()
				_ = stopC()
			})
		})
	}
}

// TestStandbyThatIsToldToEnd has not failed, whatever it returns.
func TestStandbyThatIsToldToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Second) // virtual time
		b := config("b")
		b.Logger = r.logger()
		b.Standby = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		stopB := s.contend(b, untilTold)
		time.Sleep(time.Second) // virtual time
		_ = stopA()
		time.Sleep(time.Minute) // virtual time
		s.want("a", "b")
		_ = stopB()
		if strings.Contains(r.trace(), "standby failed") {
			t.Errorf("it says\n%s", r.trace())
		}
	})
}

// TestStandby warms up before every term and never beside the work.
func TestStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		var mu sync.Mutex
		var did []string
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			did = append(did, what)
		}
		a := config("a")
		fails := 2
		a.Standby = func(ctx context.Context, role string) error {
			if fails--; fails >= 0 {
				return errors.New("no cache yet")
			}
			note("warm " + role)
			<-ctx.Done()
			time.Sleep(time.Second) // it takes its time, within the grace
			note("warmed")
			return nil
		}
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(time.Second)
		stopA := s.contend(a, func(ctx context.Context, term Term) error {
			note("work")
			if len(s.active()) < 4 {
				time.Sleep(time.Minute)
				return errors.New("failed")
			}
			<-ctx.Done()
			note("told")
			return nil
		})
		time.Sleep(time.Minute)
		_ = stopB()
		time.Sleep(10 * time.Minute)
		_ = stopA()
		want := []string{"warm r", "warmed", "work", "warm r", "warmed", "work", "warm r", "warmed", "work", "told"}
		if !slices.Equal(did, want) {
			t.Errorf("got  %q\nwant %q", did, want)
		}
	})
}

// TestStandbyFirst calls it before the work also where the role is granted before the
// call could begin.
func TestStandbyFirst(t *testing.T) {
	for range 100 {
		var called atomic.Bool
		c := config("a")
		c.Standby = func(context.Context, string) error { called.Store(true); return nil }
		r := &runner{config: c, calls: t.Context(), warm: map[string]*warmup{}}
		r.warmUp("r")
		if err := r.warm["r"].end(time.Minute); err != nil || !called.Load() {
			t.Fatalf("%v, called: %v", err, called.Load())
		}
	}
}

// TestStandbyHangs is a warm-up that does not return: the role goes to another, and no
// second warm-up begins beside the first.
func TestStandbyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		release := make(chan struct{})
		var running atomic.Int32
		a := config("a")
		a.Standby = func(context.Context, string) error {
			if running.Add(1) > 1 {
				t.Error("two warm-ups of one role run at once")
			}
			defer running.Add(-1)
			<-release
			return nil
		}
		stopA := s.contend(a, untilTold)
		time.Sleep(time.Second)
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(time.Minute)
		if got := s.active(); !slices.Equal(got, []string{"b"}) {
			t.Errorf("active: %v, want b alone: the work of a cannot begin", got)
		}
		close(release)
		time.Sleep(time.Minute)
		_ = stopB()
		time.Sleep(10 * time.Minute)
		if got := s.active(); !slices.Equal(got, []string{"b", "a"}) {
			t.Errorf("active: %v, want a to follow b once it is warm", got)
		}
		_ = stopA()
	})
}

// TestPriorityBounds refuses a priority that would overtake the ready.
func TestPriorityBounds(t *testing.T) {
	c := config("a")
	c.Roles = []lock.Bid{{Role: "r", Priority: MaxPriority + 1}}
	if err := c.Defaults().Validate(); err == nil {
		t.Error("accepted")
	}
}

// TestTermOf finds the term in what derives from the work's context, and nowhere else.
func TestTermOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if term, ok := TermOf(t.Context()); ok || term.Valid() {
			t.Errorf("%+v where there is none", term)
		}
		s := newStage(t)
		kept := make(chan Term, 1)
		stop := s.contend(config("a"), func(ctx context.Context, term Term) error {
			below, cancel := context.WithCancel(ctx)
			defer cancel()
			got, ok := TermOf(below)
			if !ok || got != term || !got.Valid() {
				t.Errorf("got %+v, want %+v", got, term)
			}
			kept <- got
			<-ctx.Done()
			return nil
		})
		time.Sleep(time.Second)
		_ = stop()
		if term := <-kept; term.Valid() {
			t.Error("the term is valid after its work returned")
		}
	})
}
