package coordinator

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestCutOff cuts the active off: it stops before its deadline, and the standby
// follows after the whole promise, not before.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newStage(t), &link{}
		l.Locker = s.store.Open()
		var stopped atomic.Bool
		stopA := s.contendOver(l, config("a"), func(ctx context.Context, term Term) error {
			<-ctx.Done()
			if first := !stopped.Swap(true); first && !errors.Is(context.Cause(ctx), ErrDeadline) {
				t.Errorf("cause: %v", context.Cause(ctx))
			}
			return nil
		})
		synctest.Wait()
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(30 * time.Second)
		cut := time.Now()
		l.cut.Store(true)
		c := config("a").Defaults()
		time.Sleep(c.TTL - c.Skew - c.Grace)
		synctest.Wait()
		if !stopped.Load() {
			t.Errorf("the active still works %v after it was cut off", time.Since(cut))
		}
		time.Sleep(c.Grace + 2*c.Skew + time.Second)
		s.want("a", "b")
		l.cut.Store(false)
		time.Sleep(2 * c.TTL)
		s.backToA(stopA, stopB)
	})
}

// backToA stops b when a has found its way back into the line, and a follows it.
func (s *stage) backToA(stopA, stopB func() error) {
	s.t.Helper()
	stopB()
	synctest.Wait()
	s.want("a", "b", "a")
	stopA()
}

// TestRepliesLost loses the replies to the active alone: its beats still arrive, and
// its release does not. The role moves all the same, and a is back in line when
// replies are.
func TestRepliesLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newStage(t), &link{reads: true}
		l.Locker = s.store.Open()
		stopA := s.contendOver(l, config("a"), untilTold)
		synctest.Wait()
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(30 * time.Second)
		l.mute.Store(true)
		c := config("a").Defaults()
		time.Sleep(2*c.TTL + c.Skew)
		synctest.Wait()
		s.want("a", "b")
		l.mute.Store(false)
		time.Sleep(2 * c.TTL)
		s.backToA(stopA, stopB)
	})
}

// TestExit keeps working after the context has ended: the process exits, at the
// deadline and not later, whatever else hangs.
func TestExit(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, l := newStage(t), &link{}
			l.Locker = s.store.Open()
			c := config("a").Defaults()
			release := make(chan struct{})
			var exited time.Time
			c.Exit = func() {
				exited = time.Now()
				close(release)
			}
			sent := make(chan time.Time, 1)
			if hang { // the loop itself hangs, in the log
				c.Logger = hanging(release)
			}
			stop := s.contendOver(l, c, func(ctx context.Context, term Term) error {
				sent <- time.Now()
				l.cut.Store(true)
				<-release
				return nil
			})
			time.Sleep(time.Minute)
			synctest.Wait()
			stop()
			took := exited.Sub(<-sent)
			if want := c.TTL - c.Skew; exited.IsZero() || took > want {
				t.Errorf("hanging log %v: exit after %v, want at most %v", hang, took, want)
			}
		})
	}
}

// TestLost has an operator end the session of a living active: it stops at once,
// and the standby does not wait for the promise.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.forced = true
		causes := make(chan error, 2)
		stopA := s.contend(config("a"), func(ctx context.Context, term Term) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		})
		synctest.Wait()
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(time.Minute)
		l := s.store.Open()
		for st := range l.Watch(t.Context(), "r") {
			err := l.Evict(t.Context(), st.Term.Holder.Session, st.Term.Holder.Beat, lock.End{By: "test", Why: "said so"})
			if err == nil {
				break
			}
			if !errors.Is(err, lock.ErrMoved) { // by a beat: look again
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if cause := <-causes; !errors.Is(cause, ErrSessionLost) && !errors.Is(cause, ErrSuperseded) {
			t.Errorf("cause: %v", cause)
		}
		s.want("a", "b")
		s.backToA(stopA, stopB)
	})
}

// TestSameID starts a second process under a living one's ID, and one beside a
// dead one's.
func TestSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newStage(t), &link{}
		l.Locker = s.store.Open()
		c := config("a")
		c.Address, c.Outlives = "10.0.0.1:1", true
		stop := s.contendOver(l, c, untilTold)
		time.Sleep(time.Minute)
		err := Run(t.Context(), s.store.Open(), c, untilTold)
		var held *lock.HeldError
		if !errors.As(err, &held) || held.Holder.Address != "10.0.0.1:1" || !strings.Contains(err.Error(), "10.0.0.1:1") {
			t.Fatalf("second process: %v, want an error that says where the first runs", err)
		}
		l.cut.Store(true)
		again := s.contend(c, untilTold)
		time.Sleep(time.Minute)
		if got := s.active(); len(got) != 2 {
			t.Errorf("active: %v, want the restart to have followed", got)
		}
		again()
		stop()
	})
}

// TestExclusive has a contender that will not stand by.
func TestExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newStage(t), &link{}
		l.Locker = s.store.Open()
		stopA := s.contendOver(l, config("a"), untilTold)
		time.Sleep(time.Minute)
		c := config("b")
		c.Exclusive = true
		err := Run(t.Context(), s.store.Open(), c, untilTold)
		var held *lock.HeldError
		if !errors.As(err, &held) || held.Name != "r" || held.Holder.ID != "a" {
			t.Fatalf("beside a living holder: %v", err)
		}
		l.cut.Store(true)
		stopB := s.contend(c, untilTold)
		time.Sleep(time.Minute)
		s.want("a", "b")
		stopB()
		stopA()
	})
}

// TestExclusiveRoles has a contender that stands by in one role, and will not in another.
func TestExclusiveRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Minute)
		both := func(id string) Config {
			c := config(id)
			c.Roles, c.ExclusiveRoles = []lock.Bid{{Role: "r"}, {Role: "s"}}, []string{"s"}
			return c
		}
		stopB := s.contend(both("b"), untilTold) // s is vacant, and r is a's
		time.Sleep(time.Minute)
		s.want("a", "b")
		err := Run(t.Context(), s.store.Open(), both("c"), untilTold)
		var held *lock.HeldError
		if !errors.As(err, &held) || held.Name != "s" || held.Holder.ID != "b" {
			t.Errorf("beside a living holder: %v", err)
		}
		stopA()
		time.Sleep(time.Minute)
		if got := s.active(); len(got) != 3 || got[2] != "b" {
			t.Errorf("active: %v, want b in both roles", got)
		}
		stopB()
	})
}

// TestAsk hands the role to the one that an operator names.
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		var stops []func() error
		for _, id := range []string{"a", "b", "c"} {
			stops = append(stops, s.contend(config(id), untilTold))
			time.Sleep(time.Second)
		}
		l := s.store.Open()
		for st := range l.Watch(t.Context(), "r") {
			if err := l.Ask(t.Context(), "r", lock.Request{Token: st.Term.Token, To: st.Line[1].Session}); err != nil {
				t.Fatal(err)
			}
			break
		}
		synctest.Wait()
		if got := s.active(); len(got) != 2 || got[1] != "c" {
			t.Errorf("active: %v, want c", got)
		}
		for _, stop := range stops {
			stop()
		}
	})
}

// TestAskForTheDead: nothing is handed to a session that does not answer, and the next wish is heeded.
func TestAskForTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Second)
		stopB := s.contend(config("b"), untilTold)
		l := s.store.Open()
		dead, err := l.Register(t.Context(), lock.Contender{ID: "dead", Session: "dead"}, lock.Promise{TTL: time.Minute}, lock.Bid{Role: "r", Priority: 1})
		must(t, err)
		time.Sleep(time.Second)
		var st lock.Standing
		for st = range l.Watch(t.Context(), "r") {
			break
		}
		must(t, l.Ask(t.Context(), "r", lock.Request{Token: st.Term.Token, To: dead.ID()}))
		time.Sleep(30 * time.Second)
		if got := s.active(); len(got) != 1 || got[0] != "a" {
			t.Fatalf("active: %v, want a alone", got)
		}
		must(t, l.Ask(t.Context(), "r", lock.Request{Token: st.Term.Token, To: st.Line[1].Session}))
		s.handedTo("b")
		must(t, errors.Join(stopA(), stopB()))
	})
}

// handedTo expects that a role which one has had was handed to another.
func (s *stage) handedTo(id string) {
	s.t.Helper()
	synctest.Wait()
	if got := s.active(); len(got) != 2 || got[1] != id {
		s.t.Errorf("active: %v, want %s", got, id)
	}
}

// TestAskAgain: a standby whose answer came too late answers the same wish when it is made again.
func TestAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Second)
		far := &link{Locker: s.store.Open()}
		stopB := s.contendOver(far, config("b"), untilTold)
		time.Sleep(time.Second)
		l := s.store.Open()
		var st lock.Standing
		for st = range l.Watch(t.Context(), "r") {
			break
		}
		wish := lock.Request{Token: st.Term.Token, To: st.Line[0].Session, By: "op"}
		far.cut.Store(true)
		must(t, l.Ask(t.Context(), "r", wish))
		time.Sleep(time.Second)
		must(t, l.Ask(t.Context(), "r", lock.Request{Token: wish.Token}))
		far.cut.Store(false)
		time.Sleep(time.Second)
		must(t, l.Ask(t.Context(), "r", wish))
		s.handedTo("b")
		must(t, errors.Join(stopA(), stopB()))
	})
}

// TestHoldDown has work that fails: alone it is tried again after the shortest
// pause, and beside another it leaves the role to it.
func TestHoldDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		r := &recorder{begin: time.Now()}
		a := config("a")
		a.Heartbeat, a.Logger = time.Hour, r.logger()
		failing := func(context.Context, Term) error { return errors.New("no") }
		stopA := s.contend(a, failing)
		time.Sleep(time.Minute)
		if n := len(s.active()); n < 100 || n > 300 {
			t.Errorf("%d activations alone in a minute", n)
		}
		synctest.Wait()
		if n := strings.Count(r.trace(), "\n"); n > 15 { // two terms in full, and then how many there were
			t.Errorf("that is %d lines:\n%s", n, r.trace())
		}
		before := len(s.active())
		stopB := s.contend(config("b"), failing)
		time.Sleep(10 * time.Minute)
		if n := len(s.active()) - before; n > 100 {
			t.Errorf("%d activations of two in ten minutes", n)
		}
		stopA()
		stopB()
	})
}

// TestHeldDownIsSeen: others see in the line who is held down after a failure, and see its own priority again when it is not.
func TestHeldDownIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		l := s.store.Open()
		defer l.Close()
		var failed time.Time
		stopA := s.contend(config("a"), func(context.Context, Term) error {
			failed = time.Now()
			return errors.New("no")
		})
		time.Sleep(time.Minute)
		stopB := s.contend(config("b"), func(ctx context.Context, _ Term) error { <-ctx.Done(); return nil })
		line := func(after time.Duration) lock.Member {
			t.Helper()
			synctest.Wait() // for whoever has written failed
			time.Sleep(after - time.Since(failed))
			var st lock.Standing
			for st = range l.Watch(t.Context(), "r") {
				break
			}
			if len(st.Line) != 1 || st.Line[0].ID != "a" {
				t.Fatalf("the line is %v", st.Line)
			}
			return st.Line[0]
		}
		if m := line(time.Second); m.Lowered() != lock.Recovering || !m.Competes() {
			t.Errorf("held down: %+v", m)
		}
		if m := line(57 * time.Second); m.Lowered() != lock.Recovering {
			t.Errorf("held down for another three seconds: %+v", m)
		}
		if m := line(58 * time.Second); !m.Ready() { // for less than a beat
			t.Errorf("no longer held down: %+v", m)
		}
		must(t, errors.Join(stopA(), stopB()))
	})
}

// TestDone has two roles, one of which is done at once.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		c := config("a")
		c.Roles = []lock.Bid{{Role: "once"}, {Role: "twice"}}
		err := Run(t.Context(), s.store.Open(), c, s.judged("a", func(ctx context.Context, term Term) error {
			if term.Role == "twice" {
				time.Sleep(time.Minute)
			}
			return nil
		}))
		if err != nil || len(s.active()) != 2 {
			t.Errorf("%v: %v", s.active(), err)
		}
	})
}
