package coordinator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// operator is what the stage's store offers an operator.
func (s *stage) operator() lock.Operator { return s.store.Open().(lock.Operator) }

// pauses pauses the role for an hour, or until it is resumed where d is zero.
func (s *stage) pauses(d time.Duration, stop bool) lock.Pause {
	s.t.Helper()
	p := lock.Pause{By: "op", Why: "a new disk", At: time.Now(), Stop: stop}
	if d > 0 {
		p.Until = p.At.Add(d)
	}
	must(s.t, s.operator().Pause(s.t.Context(), "r", p))
	return p
}

// TestPausedNobodyTakesOver: the active of a paused role works on; when it dies nobody takes
// over, until the role is resumed.
func TestPausedNobodyTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Second)
		b := config("b")
		b.Monitor = &Monitor{}
		stopB := s.contend(b, untilTold)
		time.Sleep(time.Minute)
		s.pauses(0, false)
		time.Sleep(time.Hour)
		if r, _ := b.Monitor.Role("r"); r.State != Paused || r.Cause != CausePaused || r.Reason.Error() != "paused by op: a new disk" {
			t.Errorf("the standby is %+v", r)
		}
		s.mu.Lock()
		running := s.now["r"]
		s.mu.Unlock()
		if running != 1 {
			t.Errorf("%d work in a pause", running)
		}
		_ = stopA()
		time.Sleep(24 * time.Hour)
		s.want("a")
		must(t, s.operator().Pause(t.Context(), "r", lock.Pause{}))
		time.Sleep(time.Second)
		s.want("a", "b")
		_ = stopB()
	})
}

// TestDrainedWhilePaused: a standby of a paused role that is drained meanwhile says so when the role is resumed.
func TestDrainedWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Second)
		b := config("b")
		b.Logger = r.logger()
		stopB := s.contend(b, untilTold)
		time.Sleep(time.Minute)
		s.pauses(0, false)
		must(t, s.operator().Configure(t.Context(), "b", lock.Settings{By: "op", Drained: true}))
		time.Sleep(time.Minute)
		must(t, s.operator().Pause(t.Context(), "r", lock.Pause{}))
		before := len(r.trace())
		time.Sleep(time.Minute)
		if text := r.trace()[before:]; !strings.Contains(text, `msg=paused id=b active=a`) || strings.Count(text, "drained by op") != strings.Count(text, "msg=paused") {
			t.Errorf("after the pause it says\n%s", text)
		}
		_, _ = stopA(), stopB()
	})
}

// TestPauseStops: the active's work is told to stop, with a cause of its own and the stop
// timeout, and the role is nobody's until the very one that had it may take it again.
func TestPauseStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		causes := make(chan error, 9)
		stop := s.contend(config("a"), func(ctx context.Context, _ Term) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			time.Sleep(20 * time.Second) // longer than the grace
			return nil
		})
		time.Sleep(time.Minute)
		s.pauses(0, true)
		time.Sleep(time.Minute)
		if cause := <-causes; !errors.Is(cause, ErrPaused) || !Asked(cause) {
			t.Errorf("the work was told %v", cause)
		}
		s.ready(map[string]bool{"a": true})
		time.Sleep(time.Hour)
		s.want("a")
		must(t, s.operator().Pause(t.Context(), "r", lock.Pause{}))
		time.Sleep(time.Second)
		s.want("a", "a")
		_ = stop()
	})
}

// TestPauseEndsByItself when its time has passed, and no sooner; a pause that replaced it stays.
func TestPauseEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Second)
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(time.Second)
		s.pauses(time.Hour, false)
		time.Sleep(time.Second)
		_ = stopA()
		time.Sleep(59 * time.Minute)
		s.want("a")
		time.Sleep(time.Minute)
		s.want("a", "b")
		s.pauses(time.Hour, true)
		time.Sleep(30 * time.Minute)
		s.pauses(3*time.Hour, true)
		time.Sleep(2 * time.Hour)
		s.want("a", "b")
		s.pauses(0, true)
		time.Sleep(24 * time.Hour)
		s.want("a", "b")
		must(t, s.operator().Pause(t.Context(), "r", lock.Pause{}))
		time.Sleep(time.Second)
		s.want("a", "b", "b")
		_ = stopB()
	})
}

// TestDrained: who is drained hands over, and takes nothing, also after a restart under its ID and
// where nobody else is there, until that is undone.
func TestDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		causes := make(chan error, 9)
		work := func(ctx context.Context, _ Term) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		}
		stopA := s.contend(config("a"), work)
		time.Sleep(time.Second)
		stopB := s.contend(config("b"), work)
		time.Sleep(time.Second)
		must(t, s.operator().Configure(t.Context(), "a", lock.Settings{By: "op", Drained: true}))
		time.Sleep(time.Second)
		s.want("a", "b")
		if cause := <-causes; !errors.Is(cause, ErrDrained) || !Asked(cause) {
			t.Errorf("the work was told %v", cause)
		}
		s.ready(map[string]bool{"a": false})
		_ = stopA()
		a := config("a")
		a.Monitor = &Monitor{}
		stopA = s.contend(a, work)
		time.Sleep(time.Minute)
		_ = stopB()
		time.Sleep(time.Hour)
		s.want("a", "b")
		if r, _ := a.Monitor.Role("r"); r.State != Paused || r.Cause != CauseDrained || !strings.Contains(r.Reason.Error(), "drained by op") {
			t.Errorf("who is drained is %+v", r)
		}
		must(t, s.operator().Configure(t.Context(), "a", lock.Settings{}))
		time.Sleep(time.Second)
		s.want("a", "b", "a")
		_ = stopA()
	})
}

// TestSetPriority: one that an operator sets counts in place of the bid's, and makes nobody ready.
func TestSetPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stops := map[string]func() error{}
		for _, id := range []string{"a", "b", "c", "cold"} {
			c := config(id)
			c.Ready = func(string) bool { return id != "cold" }
			stops[id] = s.contend(c, untilTold)
			time.Sleep(time.Second)
		}
		for id, p := range map[string]int{"c": 5, "cold": MaxPriority} {
			must(t, s.operator().Configure(t.Context(), id, lock.Settings{By: "op", Priorities: map[string]int{"r": p}}))
		}
		time.Sleep(time.Second)
		s.ready(map[string]bool{"b": true, "c": true, "cold": false})
		_ = stops["a"]()
		time.Sleep(time.Second)
		s.want("a", "c")
		_ = stops["c"]()
		time.Sleep(time.Second)
		s.want("a", "c", "b")
		_ = stops["b"]()
		_ = stops["cold"]()
	})
}
