package coordinator

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

// told is what a store says of the role r, an event a line, without times, and with the terms
// counted from 1.
func told(t *testing.T, o lock.Operator) string {
	t.Helper()
	all, err := o.History(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	terms := []lock.Token{0}
	term := func(token lock.Token) int {
		if !slices.Contains(terms, token) {
			terms = append(terms, token)
		}
		return slices.Index(terms, token)
	}
	for _, e := range history.Sorted(all) {
		fmt.Fprintf(&text, "%s %s %d", e.By, e.Kind, term(e.Token))
		if e.Kind == lock.Began {
			fmt.Fprintf(&text, " after %q %d", e.From, term(e.Previous))
		}
		fmt.Fprintf(&text, " %s", e.Cause)
		if e.Detail != "" {
			fmt.Fprintf(&text, " (%s)", e.Detail)
		}
		for _, p := range e.Parts {
			fmt.Fprintf(&text, " %s", p.Name)
		}
		fmt.Fprintln(&text)
	}
	return text.String()
}

// operator is the memory store's.
func operator(s *stage) lock.Operator { return s.store.Open().(lock.Operator) }

// byBeat is what an evicted active tells that has learned of it by its own beat, or late.
var byBeat = regexp.MustCompile(`lost \([^\n]*\)`)

func wantHistory(t *testing.T, o lock.Operator, want string) {
	t.Helper()
	got := byBeat.ReplaceAllString(told(t, o), "evicted (by operator@h1)")
	if got != want {
		t.Errorf("the history is\n%swant\n%s", got, want)
	}
}

// TestHistory: each move of a role is told by who began and by who ended, with the cause.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.forced = true
		sick := atomic.Bool{}
		healthy := func(context.Context) error {
			if sick.Load() {
				return errors.New("the disk is full")
			}
			return nil
		}
		a := config("a")
		a.Healthy, a.HealthEvery = healthy, time.Second
		stop := s.contend(a, untilTold)
		time.Sleep(time.Minute)
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(time.Minute)
		sick.Store(true)
		time.Sleep(time.Minute)
		sick.Store(false)
		time.Sleep(time.Minute)
		l := s.store.Open()
		for st := range l.Watch(t.Context(), "r") { // an operator asks b to hand over to a
			if err := l.Ask(t.Context(), "r", lock.Request{Token: st.Term.Token, To: st.Line[0].Session, By: "h1"}); err != nil {
				t.Error(err)
			}
			break
		}
		time.Sleep(time.Minute)
		for st := range l.Watch(t.Context(), "r") {
			if err := l.Evict(t.Context(), st.Term.Holder.Session, lock.AnyBeat, lock.End{By: "operator@h1", Why: "evicted by understudy evict"}); err != nil {
				t.Error(err)
			}
			break
		}
		time.Sleep(time.Minute)
		_ = stopB()
		time.Sleep(time.Minute)
		_ = stop()
		wantHistory(t, operator(s), `a began 1 after "" 0 first notice grant start
a ended 1 unhealthy (the disk is full) work drain release
b began 2 after "a" 1 released notice grant start
b ended 2 asked (by h1) work drain release
a began 3 after "b" 2 asked (by h1) notice grant start
a ended 3 evicted (by operator@h1) work drain release
b began 4 after "a" 3 evicted (by operator@h1) notice grant start
b ended 4 stopped work drain release
a began 5 after "b" 4 released notice grant start
a ended 5 stopped work drain release
`)
	})
}

// TestHistoryOfTheWork: work that is done and work that stalls are told as such.
func TestHistoryOfTheWork(t *testing.T) {
	for cause, work := range map[string]Work{
		lock.CauseDone:    func(context.Context, Term) error { time.Sleep(time.Second); return nil }, // the work itself
		lock.CauseStalled: untilTold,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			c := config("a")
			if cause == lock.CauseStalled {
				c.Watchdog = 2 * time.Second
			}
			stop := s.contend(c, work)
			time.Sleep(3 * time.Second)
			_ = stop()
			if got, want := told(t, operator(s)), "a began 1 after \"\" 0 first notice grant start\na ended 1 "+cause+" "; !strings.HasPrefix(got, want) {
				t.Errorf("the history is\n%swant\n%s", got, want)
			}
		})
	}
}

// TestHistoryOfARunThatIsDone: work that ends the run as it is done was not told to stop, and another role's work was.
func TestHistoryOfARunThatIsDone(t *testing.T) {
	for role, cause := range map[string]string{"r": lock.CauseDone, "another": lock.CauseStopped} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			ctx, giveUp := context.WithCancelCause(t.Context())
			err := Run(ctx, s.store.Open(), config("a"), func(work context.Context, _ Term) error {
				giveUp(errors.Join(ErrStopping, history.Done(role)))
				if role != "r" {
					<-work.Done() // of its own accord it would be done, too
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := told(t, operator(s)), "\na ended 1 "+cause+" "; !strings.Contains(got, want) {
				t.Errorf("the work of %s is done, and the history is\n%swant%s", role, got, want)
			}
		})
	}
}

// TestHistoryOfASilentActive: how long it had been silent is told, and what it tells itself when
// the store answers it again.
func TestHistoryOfASilentActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		la := &recording{link: &link{Locker: s.store.Open()}, Operator: operator(s)}
		stopA := s.contendOver(la, config("a"), untilTold)
		time.Sleep(time.Minute)
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(time.Minute + time.Second) // between two beats, which begin every 2.5s
		la.cut.Store(true)
		time.Sleep(5 * time.Second) // shorter than the promise
		la.cut.Store(false)
		time.Sleep(time.Minute)
		la.cut.Store(true)
		time.Sleep(time.Minute)
		la.cut.Store(false)
		time.Sleep(time.Minute)
		wantHistory(t, operator(s), `a began 1 after "" 0 first notice grant start
a outage 1  (no answer within 1.25s) outage
b began 2 after "a" 1 silent (seen by b; it had no witness) silent notice grant start
a ended 1 deadline (no answer within 1.25s) work drain release outage
`)
		all, err := operator(s).History(t.Context(), "r")
		if err != nil {
			t.Fatal(err)
		}
		p, i := config("b"), slices.IndexFunc(all, func(e lock.Event) bool { return e.By == "b" })
		if silent := all[i].Parts[0].Took; silent < p.TTL || silent > 2*p.TTL {
			t.Errorf("silent for %v, the ttl is %v", silent, p.TTL)
		}
		_, _ = stopA(), stopB()
	})
}

// A recording contender's Operator fails as its link does.
type recording struct {
	*link
	lock.Operator
	hang  atomic.Bool // no event is written
	calls atomic.Int64
}

func (r *recording) Record(ctx context.Context, role string, e lock.Event) error {
	r.calls.Add(1)
	if r.hang.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return r.pass(ctx, func(ctx context.Context) error { return r.Operator.Record(ctx, role, e) })
}

// TestHistoryDelaysNothing: where no event can be written, moves and stops take as long as ever,
// nothing is tried for ever, and what is dropped is counted. Nothing is written while nothing happens.
func TestHistoryDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStage(t), new(Monitor)
		la := &recording{link: &link{Locker: s.store.Open()}, Operator: operator(s)}
		la.hang.Store(true)
		a := config("a")
		a.Monitor = m
		stop := s.contendOver(la, a, untilTold)
		time.Sleep(10 * time.Minute)
		if p := m.Process(); p.EventsDropped != 1 || p.BeatsFailed != 0 {
			t.Errorf("%d events were dropped, want 1; %d beats failed", p.EventsDropped, p.BeatsFailed)
		}
		if n := la.calls.Load(); n != 5 {
			t.Errorf("one event was tried %d times, want 5", n)
		}
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(time.Minute)
		began := time.Now()
		_ = stop()
		if took := time.Since(began); took > lastWords {
			t.Errorf("the stop took %v", took)
		}
		time.Sleep(time.Minute)
		wantHistory(t, operator(s), "b began 1 after \"a\" 2 released notice grant start\n")
		_ = stopB()
	})
}

// TestHistoryOfAnOperatorsActs: a term that a pause or a drain ends says so, and by whom.
func TestHistoryOfAnOperatorsActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		o := operator(s)
		must := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		stop := s.contend(config("a"), untilTold)
		time.Sleep(time.Minute)
		must(o.Pause(t.Context(), "r", lock.Pause{By: "h1", At: time.Now(), Stop: true}))
		time.Sleep(time.Minute)
		must(o.Pause(t.Context(), "r", lock.Pause{}))
		time.Sleep(time.Minute)
		must(o.Configure(t.Context(), "a", lock.Settings{By: "h2", At: time.Now(), Drained: true}))
		time.Sleep(time.Minute)
		wantHistory(t, o, `a began 1 after "" 0 first notice grant start
a ended 1 paused (by h1) work drain release
a began 2 after "a" 1 released (the role was paused by h1) notice grant start
a ended 2 drained (by h2) work drain release
`)
		_ = stop()
	})
}
