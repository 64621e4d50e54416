package coordinator

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestRefusedForGood: what no try can cure ends Run with its reason, also long after the
// start, whichever call it is; and the log says so when it begins, once.
func TestRefusedForGood(t *testing.T) {
	for name, c := range map[string]struct {
		refuse []string
		begin  func(s *stage) // what makes the call; nil: the work fails
		told   int            // each call that was refused, once
	}{
		"everything":        {[]string{"register", "beat", "close", "acquire", "release", "evict", "watch"}, idle, 2},
		"beat and close":    {[]string{"beat", "close"}, idle, 2},
		"beat and register": {[]string{"beat", "register"}, idle, 2},
		"release":           {[]string{"release"}, nil, 1},
		"acquire":           {[]string{"acquire"}, nil, 1},
		"handoff":           {[]string{"handoff"}, (*stage).asksForHandoff, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, l := newStage(t), &refusing{}
				l.Locker = s.store.Open()
				var log lab.Said
				a := config("a")
				a.Logger = slog.New(slog.NewTextHandler(&log, nil))
				var fail atomic.Bool
				done := make(chan error, 1)
				go func() {
					done <- Run(t.Context(), l, a, func(ctx context.Context, _ Term) error {
						for ctx.Err() == nil {
							if fail.Load() {
								return errors.New("failed") // the role is released, and competed for again
							}
							pause(ctx, time.Second)
						}
						return nil
					})
				}()
				time.Sleep(time.Minute + time.Second) // not at the very moment of a beat
				l.set(c.refuse...)
				if fail.Store(c.begin == nil); c.begin != nil {
					c.begin(s)
				}
				time.Sleep(3*a.TTL + time.Minute)
				select {
				case err := <-done:
					if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "token was deleted") {
						t.Errorf("Run returned %v", err)
					}
				default:
					t.Error("Run has not returned")
				}
				text := log.String()
				if !strings.Contains(text, `to=stopped reason="the token was deleted"`) {
					t.Errorf("the last transition does not say why:\n%s", text)
				}
				if n := strings.Count(text[strings.Index(text, "refuses a call"):], "\n"); n > 8 {
					t.Errorf("%d lines from the first refusal on:\n%s", n, text)
				}
				if n := strings.Count(log.String(), "refuses a call"); n != c.told {
					t.Errorf("told %d times, want %d:\n%s", n, c.told, log.String())
				}
			})
		})
	}
}

func idle(*stage) {}

// asksForHandoff has another stand by, who is asked for.
func (s *stage) asksForHandoff() {
	s.t.Helper()
	stop := s.contend(config("b"), untilTold)
	s.t.Cleanup(func() { _ = stop() })
	synctest.Wait() // it stands by
	l := s.store.Open()
	for st := range l.Watch(s.t.Context(), "r") {
		must(s.t, l.Ask(s.t.Context(), "r", lock.Request{Token: st.Term.Token, To: st.Line[0].Session}))
		break
	}
}

// TestEvictionRefusedForGood: who may not end the session of a dead active can never take over: it ends, and says why.
// A stop whose session's end is refused ends all the same, with the reason.
func TestEvictionRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		l := &link{Locker: s.store.Open()}
		stopA := s.contendOver(l, config("a"), untilTold)
		time.Sleep(time.Second)
		r := &refusing{Locker: s.store.Open()}
		r.set("evict")
		done := make(chan error, 1)
		go func() { done <- Run(t.Context(), r, config("b"), untilTold) }()
		time.Sleep(time.Minute)
		l.cut.Store(true)
		time.Sleep(time.Minute)
		select {
		case err := <-done:
			if !errors.Is(err, errRefused) {
				t.Errorf("Run returned %v", err)
			}
		default:
			t.Error("Run has not returned")
		}
		_ = stopA()
	})
}

// TestRefusedForNow: a store that answers, and refuses for now, is not said to be silent. It is tried
// again all the same, and the log says when it is over.
func TestRefusedForNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newStage(t), &refusing{why: lock.Refusal(errors.New("too many connections"))}
		l.Locker = s.store.Open()
		var log bytes.Buffer
		a := config("a")
		a.Logger = slog.New(slog.NewTextHandler(&log, nil))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Run(ctx, l, a, untilTold) }()
		time.Sleep(time.Minute)
		l.set("beat")
		time.Sleep(a.TTL / 2)
		l.set()
		time.Sleep(time.Minute)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		text := log.String()
		if strings.Count(text, `level=WARN msg="the store refuses a call" id=a error="too many connections"`) != 1 ||
			strings.Count(text, `msg="the store no longer refuses the call"`) != 1 || strings.Contains(text, "does not answer") || strings.Count(text, "to=active") != 1 {
			t.Error(text)
		}
	})
}

// TestRefusedToStandby: what the store has in the role's place is not for us.
func TestRefusedToStandby(t *testing.T) {
	for _, call := range []string{"watch", "watchr"} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			stopA := s.contend(config("a"), untilTold)
			time.Sleep(time.Second)
			l := &refusing{Locker: s.store.Open()}
			l.set(call)
			err := Run(t.Context(), l, config("b"), untilTold)
			if !errors.Is(err, errRefused) || l.watches.Load() > 10 {
				t.Errorf("%s: Run returned %v after %d watches", call, err, l.watches.Load())
			}
			_ = stopA()
		})
	}
}

// passBy has every watch of the role show something: somebody joins its line, and leaves.
func (s *stage) passBy(role string) {
	s.t.Helper()
	c := lock.Contender{ID: "passer-by", Session: lock.SessionID(rand.Text())}
	passer, err := s.store.Open().Register(s.t.Context(), c, lock.Promise{TTL: time.Second}, lock.Bid{Role: role})
	synctest.Wait() // it was seen
	if err == nil {
		err = passer.Close(s.t.Context())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestForeignValueStopsTheActive: what stands in the role's place is not a record of its term.
// An operator who deletes it makes the role look as if nobody had ever held it. The other
// roles of the process go on, and so does this one when it is cured.
func TestForeignValueStopsTheActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		l := &refusing{Locker: s.store.Open()}
		a := config("a")
		a.Roles = []lock.Bid{{Role: "r"}, {Role: "x"}}
		causes := make(chan error, 9)
		stop := s.contendOver(l, a, func(ctx context.Context, term Term) error {
			<-ctx.Done()
			if term.Role == "r" {
				causes <- context.Cause(ctx)
			}
			return nil
		})
		time.Sleep(time.Minute)
		l.set("watchr")
		s.passBy("r")
		synctest.Wait()
		select {
		case cause := <-causes:
			if !errors.Is(cause, ErrSuperseded) {
				t.Errorf("it stops for %v, want %v", cause, ErrSuperseded)
			}
		default:
			t.Error("it works on")
		}
		time.Sleep(a.TTL / 2)
		l.set()
		s.passBy("r")
		time.Sleep(time.Minute)
		if got := s.active(); len(got) != 3 || s.terms[2].Role != "r" {
			t.Errorf("terms %v, want one of x, and two of r", s.terms)
		}
		if n := l.watches.Load(); n != 1 {
			t.Errorf("%d watches were begun for it, want one", n)
		}
		must(t, stop())
	})
}

// TestRefusedAndCured: what is cured within the promise changes nothing, and one role
// that is refused takes nothing from the others of its process.
func TestRefusedAndCured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		l := &refusing{Locker: s.store.Open()}
		a := config("a")
		a.Roles = []lock.Bid{{Role: "r"}, {Role: "x"}}
		l.set("acquirex")
		stop := s.contendOver(l, a, untilTold)
		time.Sleep(time.Hour)
		if got := s.active(); len(got) != 1 || s.terms[0].Role != "r" {
			t.Fatalf("terms %v, want one of r", s.terms)
		}
		l.set("beat", "watch", "evict")
		time.Sleep(a.TTL / 2)
		l.set()
		time.Sleep(time.Minute)
		if got := s.active(); len(got) != 2 || s.terms[1].Role != "x" {
			t.Errorf("terms %v, want x to follow, and r to stay", s.terms)
		}
		must(t, stop())
	})
}

// TestStopEndsARegistration: one that is in flight when a stop comes, or whose outcome is
// unknown, leaves no session behind.
func TestStopEndsARegistration(t *testing.T) {
	for _, late := range []time.Duration{0, 500 * time.Millisecond, 3 * time.Second} {
		for _, stopAfter := range []time.Duration{0, time.Millisecond, time.Second, 5500 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				l := &lateRegistrar{s.store.Open(), late}
				stop := s.contendOver(l, config("a"), untilTold)
				time.Sleep(stopAfter)
				must(t, stop())
				time.Sleep(10 * time.Second) // and it arrives
				for st := range s.store.Open().Watch(t.Context(), "r") {
					if len(st.Line) != 0 {
						t.Errorf("registered after %v, stopped after %v: left behind: %v", late, stopAfter, st.Line)
					}
					break
				}
			})
		}
	}
}

// A lateRegistrar registers whether or not anybody waits for it, and later.
type lateRegistrar struct {
	lock.Locker
	late time.Duration
}

func (l lateRegistrar) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	var s lock.Session
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(l.late) // virtual time
		s, err = l.Locker.Register(context.Background(), c, p, bids...)
	}()
	select {
	case <-done:
		return s, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestUnfitStandsLast: who is not ready, or not healthy, stands behind the others whatever its
// priority.
func TestUnfitStandsLast(t *testing.T) {
	ready := func(c *Config) { c.Ready = func(string) bool { return false } }
	healthy := func(c *Config) { c.Healthy = func(context.Context) error { return errors.New("it is sick") } }
	t.Run("not ready", func(t *testing.T) { standsLast(t, lock.NotReady, ready) })
	t.Run("not healthy", func(t *testing.T) { standsLast(t, lock.NotHealthy, healthy) })
	t.Run("neither", func(t *testing.T) { standsLast(t, lock.NotHealthy, ready, healthy) })
}

// standsLast also expects the store to show by how much the bid was lowered, and so why.
func standsLast(t *testing.T, lowered int, unfit ...func(*Config)) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Second)
		b, c := config("b"), config("c")
		b.Roles, c.Roles = []lock.Bid{{Role: "r", Priority: MaxPriority}}, []lock.Bid{{Role: "r", Priority: -MaxPriority}}
		for _, how := range unfit {
			how(&b)
		}
		stopB, stopC := s.contend(b, untilTold), s.contend(c, untilTold)
		time.Sleep(time.Minute)
		s.ready(map[string]bool{"c": true})
		for st := range s.store.Open().Watch(s.t.Context(), "r") {
			if last := st.Line[len(st.Line)-1]; last.ID != "b" || last.Lowered() != lowered {
				t.Errorf("last is %s, lowered by %d, want b by %d", last.ID, last.Lowered(), lowered)
			}
			break
		}
		_ = stopA()
		time.Sleep(time.Second)
		s.want("a", "c")
		_, _ = stopB(), stopC()
	})
}

// ready fails unless these, and no others, count as ready in the line behind r.
func (s *stage) ready(want map[string]bool) {
	s.t.Helper()
	for st := range s.store.Open().Watch(s.t.Context(), "r") {
		for _, m := range st.Line {
			if Ready(m) != want[m.ID] {
				s.t.Errorf("%s with priority %d counts as ready: %v", m.ID, m.Priority, Ready(m))
			}
		}
		break
	}
}

// TestStopIsBounded: with a store that swallows everything a stop takes as long as one
// end may take to be written, whatever is under way.
func TestStopIsBounded(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, time.Minute} { // the stop, after the store is cut off
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			l, log := &link{Locker: s.store.Open()}, new(strings.Builder)
			c := config("a")
			c.Logger = slog.New(slog.NewTextHandler(log, nil))
			c = c.Defaults()
			stop := s.contendOver(l, c, untilTold)
			time.Sleep(time.Minute)
			l.cut.Store(true)
			time.Sleep(after)
			at := time.Now()
			must(t, stop())
			if n := strings.Count(log.String(), "not ended yet: the store may have our session"); n != 1 {
				t.Errorf("a stop %v after the store was cut off says %d times what it waits for:\n%s", after, n, log.String())
			}
			if took, most := time.Since(at), c.rules("").CloseFor; took > most {
				t.Errorf("a stop %v after the store was cut off took %v, want at most %v", after, took, most)
			}
		})
	}
}
