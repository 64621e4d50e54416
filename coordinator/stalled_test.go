package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// stalled is a logger whose handler blocks in whatever it is asked, until release.
func stalled(release <-chan struct{}) *slog.Logger { return slog.New(stalledHandler{release}) }

type stalledHandler struct{ release <-chan struct{} }

func (h stalledHandler) Enabled(context.Context, slog.Level) bool  { <-h.release; return false }
func (h stalledHandler) Handle(context.Context, slog.Record) error { <-h.release; return nil }
func (h stalledHandler) WithAttrs([]slog.Attr) slog.Handler        { <-h.release; return h }
func (h stalledHandler) WithGroup(string) slog.Handler             { <-h.release; return h }

// TestNothingWaitsForALog: with a log that never takes a line everything is as without,
// from the start to the end of Run.
func TestNothingWaitsForALog(t *testing.T) {
	stories := map[string]struct {
		happens func(s *stage, cut *link, stopA func() error)
		within  time.Duration // b works
		alone   bool          // a does not come back
	}{
		"clean stop": {func(_ *stage, _ *link, stopA func() error) { _ = stopA() }, 0, true},
		"handoff": {func(s *stage, _ *link, _ func() error) {
			l := s.store.Open()
			for st := range l.Watch(s.t.Context(), "r") {
				_ = l.Ask(s.t.Context(), "r", lock.Request{Token: st.Term.Token, To: st.Line[0].Session})
				return
			}
		}, 0, false},
		"loss of the store": {func(_ *stage, cut *link, _ func() error) { cut.cut.Store(true) }, 13 * time.Second, true},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, release := newStage(t), make(chan struct{})
				defer close(release)
				cut := &link{Locker: s.store.Open()}
				a, b := config("a"), config("b")
				a.Logger, b.Logger, a.Heartbeat, b.Heartbeat = stalled(release), stalled(release), time.Second, time.Second
				a.Exit = func() { t.Error("a: exit") }
				stopA := s.contendOver(cut, a, untilTold)
				time.Sleep(time.Second)
				stopB := s.contend(b, untilTold)
				time.Sleep(20 * time.Minute) // more lines than are kept
				if got := s.active(); !slices.Equal(got, []string{"a"}) {
					t.Fatalf("active: %v, want a alone to have stayed", got)
				}
				story.happens(s, cut, stopA)
				time.Sleep(story.within)
				synctest.Wait()
				if got := s.active(); !slices.Equal(got, []string{"a", "b"}) {
					t.Errorf("active: %v, want b to follow a", got)
				}
				at := time.Now()
				if err := stopB(); err != nil || time.Since(at) > time.Second {
					t.Errorf("b ended after %v: %v", time.Since(at), err)
				}
				if name != "clean stop" {
					_ = stopA()
				}
			})
		})
	}
}

// TestNothingWaitsForACallback: one that never returns keeps nobody from the role, and is
// named when Run returns without it.
func TestNothingWaitsForACallback(t *testing.T) {
	for name, set := range map[string]func(c *Config, forever func()){
		"Healthy": func(c *Config, forever func()) {
			n := 0
			c.Healthy = func(context.Context) error {
				if n++; n > 1 {
					forever()
				}
				return nil
			}
		},
		"Ready": func(c *Config, forever func()) { c.Ready = func(string) bool { forever(); return true } },
		"Standby": func(c *Config, forever func()) {
			c.Standby = func(context.Context, string) error { forever(); return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, release := newStage(t), make(chan struct{})
				defer close(release)
				a := config("a")
				set(&a, func() { <-release })
				stopA := s.contend(a, untilTold)
				time.Sleep(time.Second)
				stopB := s.contend(config("b"), untilTold)
				time.Sleep(time.Minute)
				first := s.active()
				if want := map[bool]string{false: "b", true: "a"}[name == "Healthy"]; len(first) != 1 || first[0] != want {
					t.Errorf("active: %v, want %s", first, want) // who is not ready stands last, and whose warm-up does not end fails to activate
				}
				at := time.Now()
				err := stopA()
				if err == nil || !strings.Contains(err.Error(), name) || time.Since(at) > 3*time.Second {
					t.Errorf("a ended after %v: %v; want it to name %s", time.Since(at), err, name)
				}
				synctest.Wait()
				if got := s.active(); got[len(got)-1] != "b" {
					t.Errorf("active: %v, want b to follow", got)
				}
				if err := stopB(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestWorkBeginsInItsTerm: work does not begin when its term ended while the warm-up was
// returning.
func TestWorkBeginsInItsTerm(t *testing.T) {
	for name, ends := range map[string]func(s *stage, l *link, holder lock.SessionID, stop func() error){
		"evicted": func(s *stage, _ *link, holder lock.SessionID, _ func() error) {
			_ = s.store.Open().Evict(s.t.Context(), holder, lock.AnyBeat, lock.End{By: "operator", Why: "dead"})
		},
		"stopped": func(_ *stage, _ *link, _ lock.SessionID, stop func() error) { go func() { _ = stop() }() },
		"handed over": func(s *stage, _ *link, _ lock.SessionID, _ func() error) {
			l := s.store.Open()
			for st := range l.Watch(s.t.Context(), "r") {
				_ = l.Ask(s.t.Context(), "r", lock.Request{Token: st.Term.Token, To: st.Line[0].Session})
				return
			}
		},
		"late": func(_ *stage, l *link, _ lock.SessionID, _ func() error) {
			l.cut.Store(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				a := config("a")
				a.Grace = 2 * time.Second
				a.Exit = func() {}
				slow := 1900 * time.Millisecond // to return from the warm-up, less than the grace
				if name == "late" {
					a.TTL, a.Skew, slow = 4400*time.Millisecond, 500*time.Millisecond, 1999*time.Millisecond
				}
				began := make(chan error, 10)
				a.Standby = func(ctx context.Context, _ string) error {
					<-ctx.Done()
					time.Sleep(slow)
					return nil
				}
				l := &link{Locker: s.store.Open()}
				stop := s.contendOver(l, a, func(ctx context.Context, term Term) error {
					began <- context.Cause(ctx)
					<-ctx.Done()
					return nil
				})
				var holder lock.SessionID
				for st := range s.store.Open().Watch(t.Context(), "r") {
					if holder = st.Term.Holder.Session; holder != "" {
						break
					}
				}
				stopB := s.contend(config("b"), untilTold)
				time.Sleep(500 * time.Millisecond)
				ends(s, l, holder, stop)
				time.Sleep(2 * time.Second)
				select {
				case cause := <-began:
					t.Errorf("the work began in a term that had ended: %v", cause)
				default:
				}
				time.Sleep(10 * time.Second)
				if got := s.active(); len(got) == 0 || got[0] != "b" {
					t.Errorf("active: %v, want b", got)
				}
				_ = stopB()
				if name != "stopped" {
					_ = stop()
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// slowly makes every call of a Locker take several round trips.
type slowly struct {
	lock.Locker
	trip time.Duration
}

// TestStoreBeyondATry: at a round trip of a try and a half a role is still kept: a beat is not given
// up just before its answer.
func TestStoreBeyondATry(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 10 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			c := config("a")
			c.TTL = ttl
			stop := s.contendOver(slowly{s.store.Open(), c.Defaults().Try() * 3 / 2}, c, untilTold)
			time.Sleep(30 * ttl)
			if got := s.active(); !slices.Equal(got, []string{"a"}) {
				t.Errorf("ttl %v, active: %v, want a once", ttl, got)
			}
			if err := stop(); err != nil {
				t.Errorf("ttl %v: %v", ttl, err)
			}
		})
	}
}

func (l slowly) take(ctx context.Context, trips int) error {
	select {
	case <-time.After(time.Duration(trips) * l.trip):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l slowly) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	if err := l.take(ctx, 4); err != nil {
		return nil, err
	}
	s, err := l.Locker.Register(ctx, c, p, bids...)
	return slowSession{s, l}, err
}

func (l slowly) Evict(ctx context.Context, id lock.SessionID, seen lock.Beat, why lock.End) error {
	return errors.Join(l.take(ctx, 4), l.Locker.Evict(ctx, id, seen, why))
}

type slowSession struct {
	lock.Session
	l slowly
}

func (s slowSession) Beat(ctx context.Context, bids ...lock.Bid) error {
	return errors.Join(s.l.take(ctx, 1), s.Session.Beat(ctx, bids...))
}

func (s slowSession) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	if err := s.l.take(ctx, 3); err != nil {
		return 0, err
	}
	return s.Session.TryAcquire(ctx, role)
}

func (s slowSession) Release(ctx context.Context, role string, t lock.Token) error {
	return errors.Join(s.l.take(ctx, 3), s.Session.Release(ctx, role, t))
}

func (s slowSession) Handoff(ctx context.Context, role string, t lock.Token, to lock.SessionID) error {
	return errors.Join(s.l.take(ctx, 3), s.Session.Handoff(ctx, role, t, to))
}

func (s slowSession) Close(ctx context.Context) error {
	return errors.Join(s.l.take(ctx, 4), s.Session.Close(ctx))
}

// TestFarStore: at a round trip of nine tenths of a try a role is taken and kept, handed
// over, taken over from one whose session was ended, who comes back, and given back.
func TestFarStore(t *testing.T) {
	for _, ttl := range []time.Duration{MinTTL, 2 * time.Second, 10 * time.Second, 5 * time.Minute} {
		t.Run(ttl.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				s.forced = true // the eviction below is an operator's word
				run := func(id string) func() error {
					c := config(id)
					c.TTL = ttl
					return s.contendOver(slowly{s.store.Open(), c.Defaults().Try() * 9 / 10}, c, untilTold)
				}
				line := func() (holder lock.SessionID, others []lock.Member, st lock.Standing) {
					for st = range s.store.Open().Watch(t.Context(), "r") {
						break
					}
					return st.Term.Holder.Session, st.Line, st
				}
				stopA := run("a")
				time.Sleep(3 * ttl)
				stopB := run("b")
				time.Sleep(20 * ttl)
				if got := s.active(); !slices.Equal(got, []string{"a"}) {
					t.Fatalf("active: %v, want a to have stayed", got)
				}
				_, others, st := line()
				if len(others) != 1 {
					t.Fatalf("in line: %v, want b", others)
				}
				if err := s.store.Open().Ask(t.Context(), "r", lock.Request{Token: st.Term.Token, To: others[0].Session}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * ttl)
				holder, _, _ := line()
				if err := s.store.Open().Evict(t.Context(), holder, lock.AnyBeat, lock.End{By: "operator", Why: "dead"}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * ttl)
				if got := s.active(); !slices.Equal(got, []string{"a", "b", "a"}) {
					t.Errorf("active: %v, want a handoff to b and a takeover by a", got)
				}
				if _, others, _ := line(); len(others) != 1 || others[0].ID != "b" {
					t.Errorf("in line: %v, want b back", others)
				}
				_, _ = stopA(), stopB()
				if _, others, st := line(); len(others) != 0 || st.Term.Over == "" && st.Term.End == (lock.End{}) {
					t.Errorf("left behind: %+v", st)
				}
			})
		})
	}
}

// TestBudget of a call grows from what beats have told when calls go unanswered, and is
// whole where nothing was told.
func TestBudget(t *testing.T) {
	c := config("a").Defaults()
	r := &runner{config: c, machine: machine.New(c.rules("nonce"), "r")}
	now := Virtual()
	r.machine.Step(now, machine.Tick{})
	r.machine.Step(now, machine.Registered{Number: 1, At: now, Outcome: lock.OK})
	whole := 4 * c.Try()
	if got := r.budget(closeTrips); got != whole {
		t.Errorf("%v before anything is known, want %v", got, whole)
	}
	r.machine.Step(now.Plus(10*time.Millisecond), machine.Beaten{Number: 1, At: now, Outcome: lock.OK})
	near := r.budget(closeTrips)
	if near >= whole/2 || r.budget(beatTrips) != c.Try() {
		t.Errorf("%v on a near store", near)
	}
	for range 8 {
		r.machine.Step(now.Plus(10*time.Millisecond), machine.Closed{Number: 1})
	}
	if got, most := r.budget(closeTrips), 7*c.Try(); got != most {
		t.Errorf("%v after eight calls without an answer, want %v", got, most)
	}
}
