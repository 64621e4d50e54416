package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestNobodyAsked: whatever ends a run for which nobody asked is said as it is, in the log and
// to the work.
func TestNobodyAsked(t *testing.T) {
	died := errors.New("the command died")
	for want, c := range map[string]struct {
		refuse    string
		id        string // of the other one
		exclusive bool
		level     string
	}{
		"the token was deleted":         {refuse: "register", level: "WARN"},
		`ID \"a\" is in use by session`: {id: "a", level: "WARN"},
		`role \"r\" is held by \"b\"`:   {id: "b", exclusive: true, level: "WARN"},
		died.Error():                    {level: "INFO"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, r := newStage(t), &recorder{begin: time.Now()}
			if c.id != "" {
				stop := s.contend(config(c.id), untilTold)
				defer func() { _ = stop() }()
				time.Sleep(time.Minute)
			}
			l := &refusing{Locker: s.store.Open()}
			l.set(c.refuse)
			a := config("a")
			a.Logger, a.Exclusive = r.logger(), c.exclusive
			ctx, cancel := context.WithCancelCause(t.Context())
			var told error
			go func() {
				time.Sleep(time.Minute)
				cancel(died)
			}()
			_ = Run(ctx, l, a, func(ctx context.Context, _ Term) error {
				<-ctx.Done()
				told = context.Cause(ctx)
				return nil
			})
			time.Sleep(2 * time.Minute)
			text := r.trace()
			last := ""
			for line := range strings.Lines(text) {
				if strings.Contains(line, "to=stopped") {
					last = line
				}
			}
			if strings.Contains(text, "stop was asked for") || !strings.Contains(last, want) || strings.Contains(last, "level=WARN") != (c.level == "WARN") {
				t.Errorf("want %q, as %s:\n%s", want, c.level, text)
			}
			if told != nil && (!errors.Is(told, ErrStopping) || !errors.Is(told, died) || told.Error() != died.Error()) {
				t.Errorf("the work is told %v", told)
			}
		})
	}
}

// TestWhoIsActive: a heartbeat names nobody as active who is known not to work.
func TestWhoIsActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		l := &link{Locker: s.store.Open()}
		b := config("b")
		b.Logger, b.Heartbeat = r.logger(), time.Second
		stop := s.contendOver(l, b, untilTold)
		time.Sleep(5 * time.Minute)
		l.cut.Store(true)
		time.Sleep(5 * time.Minute)
		_ = stop()
		if text := r.trace(); !strings.Contains(text, "msg=draining id=b active=unknown") || strings.Count(text, "msg=draining") != strings.Count(text, " work=ended") {
			t.Errorf("a heartbeat does not say that the work has ended:\n%s", text)
		}
		for line := range strings.Lines(r.trace()) {
			names, works := strings.Contains(line, " active=b "), strings.Contains(line, "msg=active")
			if strings.Contains(line, " active=") && names != works {
				t.Error(line)
			}
		}
	})
}

// TestLossIsTold: who ended the session is told, of an active and of a standby; and that the role is lost is a warning.
func TestLossIsTold(t *testing.T) {
	for _, c := range []struct {
		who   string
		ended func(lock.Standing) lock.SessionID
		wants string
	}{
		{"a", func(st lock.Standing) lock.SessionID { return st.Term.Holder.Session }, `level=WARN msg=transition id=a from=active to=draining reason="the session was lost"`},
		{"b", func(st lock.Standing) lock.SessionID { return st.Line[0].Session }, `msg=transition id=b from=standby to=registering reason="the session was lost"`},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, r := newStage(t), &recorder{begin: time.Now()}
			s.forced = true
			var stops []func() error
			for _, id := range []string{"a", "b"} {
				config := config(id)
				if id == c.who {
					config.Logger = r.logger()
				}
				stops = append(stops, s.contend(config, untilTold))
				time.Sleep(time.Second)
			}
			time.Sleep(time.Minute + 700*time.Millisecond) // between two beats: the watch tells first
			l := s.store.Open()
			for st := range l.Watch(t.Context(), "r") {
				if err := l.Evict(t.Context(), c.ended(st), lock.AnyBeat, lock.End{By: "operator@h1", Why: "a test"}); err != nil {
					t.Error(err)
				}
				break
			}
			time.Sleep(time.Minute)
			for _, stop := range stops {
				_ = stop()
			}
			text := r.trace()
			for _, want := range []string{c.wants, `session lost: it was ended by \"operator@h1\": a test"`} {
				if !strings.Contains(text, want) {
					t.Errorf("not told: %s\n%s", want, text)
				}
			}
		})
	}
}

// TestHangIsTold: a health check that does not return is named as such, before anything is
// done about it, and so is its return.
func TestHangIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		c := config("a")
		c.Logger, c.HealthEvery = r.logger(), time.Second
		c.Healthy = func(ctx context.Context) error {
			if time.Since(r.begin) > 30*time.Second && time.Since(r.begin) < 40*time.Second {
				pause(ctx, time.Minute)
			}
			return nil
		}
		stop := s.contend(c, untilTold)
		time.Sleep(3 * time.Minute)
		_ = stop()
		text := r.trace()
		hangs, returned := strings.Index(text, `level=WARN msg="the health check hangs"`), strings.Index(text, "the health check has returned")
		if hangs < 0 || returned < hangs || strings.Count(text, "hangs") != 1 {
			t.Error(text)
		}
	})
	synctest.Test(t, func(t *testing.T) { // one that is slow each time is not told each time
		s, r := newStage(t), &recorder{begin: time.Now()}
		c := config("a")
		c.Logger, c.HealthEvery = r.logger(), time.Second
		c.Healthy = func(ctx context.Context) error {
			pause(ctx, c.TTL*3/10)
			return nil
		}
		stop := s.contend(c, untilTold)
		time.Sleep(10 * time.Minute)
		_ = stop()
		if n := strings.Count(r.trace(), "the health check hangs"); n == 0 || n > 41 {
			t.Errorf("told %d times in ten minutes", n)
		}
	})
}

// TestLateWorkIsTold: work that does not return is told of before the process exits for it.
func TestLateWorkIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		s.forced = true
		l := &link{Locker: s.store.Open()}
		a := config("a")
		release := make(chan struct{})
		a.Logger, a.Exit = r.logger(), func() { close(release) }
		stop := s.contendOver(l, a, func(context.Context, Term) error { <-release; return nil })
		time.Sleep(time.Minute)
		l.cut.Store(true)
		time.Sleep(time.Minute)
		told, exited := strings.Index(r.trace(), "the work was told to stop and has not returned"), false
		select {
		case <-release:
			exited = true
		default:
		}
		if told < 0 || !exited || strings.Count(r.trace(), "has not returned") != 1 {
			t.Errorf("told at %d, exited: %v\n%s", told, exited, r.trace())
		}
		_ = stop()
	})
}

// An unlucky Locker fails each beat with what its func says; nil: not.
type unlucky struct {
	lock.Locker
	why func() error
}

func (f unlucky) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	s, err := f.Locker.Register(ctx, c, p, bids...)
	return unluckySession{s, f}, err
}

type unluckySession struct {
	lock.Session
	f unlucky
}

func (s unluckySession) Beat(ctx context.Context, bids ...lock.Bid) error {
	return unless(s.f.why(), func() error { return s.Session.Beat(ctx, bids...) })
}

// TestTheEndIsTold: a stop while the store is away and the role cannot be given back has a last
// transition, too, which says why.
func TestTheEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		l := &link{Locker: s.store.Open()}
		a := config("a")
		a.Logger = r.logger()
		stop := s.contendOver(l, a, untilTold)
		time.Sleep(time.Minute)
		l.cut.Store(true)
		time.Sleep(30 * time.Second)
		_ = stop()
		var last string
		for line := range strings.Lines(r.trace()) {
			if strings.Contains(line, "msg=transition") {
				last = line
			}
		}
		if !strings.Contains(last, `from=draining to=stopped reason="stop was asked for"`) {
			t.Errorf("the last transition is %q of\n%s", last, r.trace())
		}
	})
}

// A lagging Locker registers nobody, either, while it fails beats. Its watches go on.
type lagging struct{ unlucky }

func (f lagging) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	if err := f.why(); err != nil {
		return nil, err
	}
	return f.unlucky.Register(ctx, c, p, bids...)
}

// TestWatchesAreNoAnswer: while nothing is written for a process, as on a node of Raft whose disk
// is full, what its watches show does not say that the store answers again, nor that nobody is
// active.
func TestWatchesAreNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		a := config("a")
		a.Logger, a.Heartbeat = r.logger(), 10*time.Second
		l := lagging{unlucky{s.store.Open(), func() error {
			if since := time.Since(r.begin); since > time.Minute && since < 3*time.Minute {
				return errors.New("the disk is full")
			}
			return nil
		}}}
		stopA := s.contendOver(l, a, untilTold)
		time.Sleep(30 * time.Second)
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(130 * time.Second)
		synctest.Wait()
		if text := r.trace(); strings.Contains(text, "answers again") || strings.Contains(text, "active=nobody") || !strings.Contains(text, "msg=registering id=a active=unknown") {
			t.Errorf("while it lasts:\n%s", text)
		}
		time.Sleep(time.Minute)
		_ = stopB()
		_ = stopA()
		if text := r.trace(); strings.Count(text, "does not answer") != 1 || strings.Count(text, "answers again") != 1 || !strings.Contains(text, "msg=standby id=a active=b") {
			t.Error(text)
		}
	})
}

// TestErrorsChange: another error is told anew, and however often the errors change, or come
// and go, a minute has ten lines at most.
func TestErrorsChange(t *testing.T) {
	for name, why := range map[string]func(n int, since time.Duration) error{
		"another": func(_ int, since time.Duration) error {
			switch {
			case since < time.Minute:
				return nil
			case since < 2*time.Minute:
				return errors.New("no route")
			}
			return errors.New("no leader")
		},
		"each": func(n int, _ time.Duration) error { return fmt.Errorf("port %d", n) },
		"come and go": func(n int, _ time.Duration) error {
			if n%8 < 6 {
				return errors.New("no route")
			}
			return nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, r := newStage(t), &recorder{begin: time.Now()}
			n := 0
			a := config("a")
			a.Logger, a.Heartbeat, a.TTL = r.logger(), time.Hour, time.Second
			var mu sync.Mutex
			stop := s.contendOver(unlucky{s.store.Open(), func() error {
				mu.Lock()
				defer mu.Unlock()
				n++
				return why(n, time.Since(r.begin))
			}}, a, untilTold)
			time.Sleep(10 * time.Minute)
			_ = stop()
			told := 0
			for line := range strings.Lines(r.trace()) {
				if strings.Contains(line, "the store ") && !strings.Contains(line, "msg=transition") {
					told++
				}
			}
			if told > 100 || told == 0 {
				t.Errorf("%s: %d lines in ten minutes", name, told)
			}
			if name == "another" && (!strings.Contains(r.trace(), `msg="the store does not answer" id=a error="no route"`) || !strings.Contains(r.trace(), `msg="the store does not answer" id=a error="no leader"`)) {
				t.Error(r.trace())
			}
		})
	}
}

// TestLossByOnesOwnClock: where nobody has ended the session of a standby, no line says that it was lost to somebody: the store
// refused its beats, or the process did not run.
func TestLossByOnesOwnClock(t *testing.T) {
	const want = `msg=transition id=a from=standby to=registering reason="no beat was acknowledged for so long that the session counts as lost"`
	for name, happens := range map[string]func(l *refusing, skipped *atomic.Int64){
		"refused": func(l *refusing, _ *atomic.Int64) {
			l.set("beat", "register", "watch")
			time.Sleep(time.Minute) // longer than its promise
			l.set()
		},
		"frozen": func(_ *refusing, skipped *atomic.Int64) { skipped.Store(int64(time.Minute)) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s, r, skipped := newStage(t), &recorder{begin: time.Now()}, new(atomic.Int64)
			stopB := s.contend(config("b"), untilTold)
			time.Sleep(time.Second) // until it has the role
			c := config("a")
			c.Logger = r.logger()
			c.Now = func() Instant {
				now, more := Virtual(), time.Duration(skipped.Load())
				return Instant{Mono: now.Mono, Raw: now.Raw + more, Boot: now.Boot + more}
			}
			l := &refusing{Locker: s.store.Open(), why: lock.Refusal(errors.New("the password was changed"))}
			stopA := s.contendOver(l, c, untilTold)
			time.Sleep(time.Minute) // in line
			happens(l, skipped)
			time.Sleep(time.Minute) // until it is so again
			must(t, errors.Join(stopA(), stopB()))
			if text := r.trace(); !strings.Contains(text, want) {
				t.Errorf("%s:\n%s", name, text)
			}
		})
	}
}
