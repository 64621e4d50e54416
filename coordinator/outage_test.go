package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestOutageIsFewLines: however short the ttl is, however many roles there are, and whatever
// the store's errors say, an outage costs at most ten lines a minute, what happens to the roles
// included: for the active, for a standby, and for whoever asks for a role that nobody has.
func TestOutageIsFewLines(t *testing.T) {
	for _, ttl := range []time.Duration{200 * time.Millisecond, time.Second, 10 * time.Second, time.Minute} {
		for _, roles := range []int{1, 20} {
			for _, who := range []string{"active", "standby", "asking"} {
				t.Run(fmt.Sprint(ttl, roles, who), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { outage(t, ttl, roles, who) }) })
			}
		}
	}
}

// TestRefusalIsFewLines: a store that answers and refuses a call is asked again all the time, and told about as rarely
// as one that is away; for a minute, or for as long as the process has another role.
func TestRefusalIsFewLines(t *testing.T) {
	for _, call := range []string{"acquirex", "releasex", "watchx", "watch", "evict", "close", "register"} {
		for _, ttl := range []time.Duration{time.Second, 10 * time.Second} {
			for name, why := range map[string]error{"for now": lock.Refusal(errors.New("too many connections")), "for good": nil} {
				t.Run(fmt.Sprint(call, ttl, name), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { refusedFor(t, call, ttl, why) }) })
			}
		}
	}
}

func refusedFor(t *testing.T, call string, ttl time.Duration, why error) {
	s, r, fail := newStage(t), &recorder{begin: time.Now()}, atomic.Bool{}
	l := &refusing{Locker: s.store.Open(), why: why}
	c := config("a")
	c.Logger, c.TTL, c.Heartbeat, c.Roles = r.logger(), ttl, time.Hour, []lock.Bid{{Role: "r"}, {Role: "x"}} // heartbeats come as ever
	stop := s.contendOver(l, c, func(ctx context.Context, term Term) error {
		for ctx.Err() == nil && (term.Role == "r" || !fail.Swap(false)) {
			pause(ctx, ttl/50)
		}
		if ctx.Err() == nil {
			return errors.New("failed") // on x, once: that gives the role back, and asks for it
		}
		return nil
	})
	time.Sleep(time.Minute) // virtual time
	l.set(call)
	fail.Store(true)
	if call == "close" || call == "register" { // a beat writes what a registration writes
		l.set("register", call, "beat")
	}
	s.passBy("x")
	for minute, before := range []int{len(r.trace()), -1, -1} {
		if before < 0 {
			before = len(r.trace())
		}
		time.Sleep(time.Minute) // virtual time
		if text := r.trace()[before:]; strings.Count(text, "\n") > 10 {
			t.Errorf("%d lines in minute %d:\n%s", strings.Count(text, "\n"), minute, text)
		}
	}
	if err := stop(); err != nil && !errors.Is(err, errRefused) {
		t.Error(err)
	}
}

// TestVainAttemptIsToldAgain: once the role has moved, the next attempt is news.
func TestVainAttemptIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Second)
		l, c := &refusing{Locker: s.store.Open(), why: lock.Refusal(errors.New("too many connections"))}, config("b")
		c.Logger = r.logger()
		stopB := s.contendOver(l, c, untilTold)
		asks := func() int { return strings.Count(r.trace(), "from=standby to=activating") }
		for round := 1; round <= 2; round++ {
			time.Sleep(time.Minute)
			l.set("acquire")
			must(t, stopA())
			time.Sleep(5 * time.Second) // many attempts
			if got := asks(); got != round {
				t.Errorf("after %d moves %d attempts are told:\n%s", round, got, r.trace())
			}
			stopA = s.contend(config("a"), untilTold) // and takes it
		}
		_, _ = stopA(), stopB()
	})
}

// TestStopTellsWhyNot: whoever stops before it could register says why it could not.
func TestStopTellsWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		l, c := &link{Locker: s.store.Open(), wordy: true}, config("a")
		l.cut.Store(true)
		c.Logger = r.logger()
		stop := s.contendOver(l, c, untilTold)
		time.Sleep(time.Minute) // virtual time
		_ = stop()
		for line := range strings.Lines(r.trace()) {
			if strings.Contains(line, "to=stopped") && strings.Contains(line, "error=") {
				return
			}
		}
		t.Errorf("it says\n%s", r.trace())
	})
}

// TestOutageIsTold: a process that registers anew because the store did not answer says so, and not that a session was
// lost, which only the store can say.
func TestOutageIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStage(t), &recorder{begin: time.Now()}
		stopA := s.contend(config("a"), untilTold)
		time.Sleep(time.Second)
		l, c := &link{Locker: s.store.Open()}, config("b")
		c.Logger = r.logger()
		stopB := s.contendOver(l, c, untilTold)
		time.Sleep(time.Minute)
		l.cut.Store(true)
		time.Sleep(10 * time.Minute)
		if trace := r.trace(); !strings.Contains(trace, "from=standby to=registering reason=\""+gaveUp) || strings.Contains(trace, "session was lost") {
			t.Errorf("of an outage it says\n%s", trace)
		}
		_, _ = stopA(), stopB()
	})
}

// TestWorkEndedInOurPlace: where something else ended the work because the promise was over, as the init above a command
// does while this process is stopped, nobody is told that it ended by itself.
func TestWorkEndedInOurPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, c, first := newStage(t), &recorder{begin: time.Now()}, config("a"), true
		c.Logger = r.logger()
		stop := s.contend(c, func(ctx context.Context, term Term) error {
			if first {
				first = false
				return ErrDeadline
			}
			return untilTold(ctx, term)
		})
		time.Sleep(time.Minute)
		if trace := r.trace(); strings.Contains(trace, "ended by itself") || strings.Contains(trace, "the work returned") ||
			!strings.Contains(trace, "while this process did not run") || !strings.Contains(trace, "to=draining reason=\""+ErrDeadline.Error()) {
			t.Errorf("it says\n%s", trace)
		}
		_ = stop()
	})
}

// TestNobodyWasConnected: where no connection was ever made nothing can have been left behind. So a stop waits for
// nothing, and nothing is told of calls that end a session.
func TestNobodyWasConnected(t *testing.T) {
	for name, c := range map[string]struct {
		why  error
		left bool
	}{
		"refused":               {fmt.Errorf("register: %w", refusedDial), false},
		"two members":           {errors.Join(refusedDial, fmt.Errorf("b: %w", refusedDial)), false},
		"one of two answered":   {errors.Join(refusedDial, errors.New("reset")), true},
		"a read after a write":  {fmt.Errorf("%w, after %w", refusedDial, context.DeadlineExceeded), true},
		"given up for the stop": {context.Canceled, true},
		"a connection that was": {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, log, config := newStage(t), new(strings.Builder), config("a")
				l := &refusing{why: c.why, Locker: s.store.Open()}
				l.set("register", "evict")
				config.Logger = slog.New(slog.NewTextHandler(log, nil))
				stop := s.contendOver(l, config, untilTold)
				time.Sleep(time.Minute)
				at := time.Now()
				must(t, stop())
				if left := strings.Contains(log.String(), "may have our session"); left != c.left || !c.left && time.Since(at) > 0 {
					t.Errorf("it may have left something: %v; the stop took %v:\n%s", c.left, time.Since(at), log)
				}
				if n := strings.Count(log.String(), "the store does not answer\""); n != 0 {
					t.Errorf("beside the registration it tells of another call:\n%s", log)
				}
			})
		})
	}
}

var refusedDial = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// TestLinesOfRoles: roles share a line where lines are shared, and have one each where not.
func TestLinesOfRoles(t *testing.T) {
	for shared, want := range map[bool]string{false: "[[a] [b] [c]]", true: "[[a c] [b]]"} {
		j := &journal{shared: shared}
		if got := fmt.Sprint(j.lines([]string{"a", "b", "c"}, func(role string) string { return strings.Replace(role, "c", "a", 1) })); got != want {
			t.Errorf("shared: %v: %s, want %s", shared, got, want)
		}
	}
}

func outage(t *testing.T, ttl time.Duration, roles int, who string) {
	s, r := newStage(t), &recorder{begin: time.Now()}
	l := &link{Locker: s.store.Open(), wordy: true}
	c := config("a")
	c.Logger, c.TTL, c.Roles = r.logger(), ttl, nil
	for i := range roles {
		c.Roles = append(c.Roles, lock.Bid{Role: fmt.Sprint("r", i)})
	}
	switch who {
	case "standby":
		other := c
		other.ID, other.Logger = "b", slog.New(slog.DiscardHandler)
		stopOther := s.contend(other, untilTold)
		defer func() { must(t, stopOther()) }()
		time.Sleep(time.Second) // virtual time
	case "asking":
		c.Healthy = func(context.Context) error { // until the store is away
			if !l.cut.Load() {
				return errors.New("not yet")
			}
			return nil
		}
	}
	stop := s.contendOver(l, c, func(ctx context.Context, _ Term) error {
		<-ctx.Done()
		time.Sleep(min(ttl/5, 2*time.Second) * 3 / 4) // virtual time, of the grace: it is late, and is told so
		return nil
	})
	time.Sleep(time.Minute) // virtual time
	l.cut.Store(true)
	before := -1
	for before < 0 {
		time.Sleep(ttl / 20) // virtual time
		before = strings.Index(r.trace(), "the store does not answer")
	}
	for minute := range 3 {
		time.Sleep(time.Minute) // virtual time
		text := r.trace()
		n := strings.Count(text[before:], "\n")
		if n == 0 || n > 10 {
			t.Errorf("%d lines in minute %d:\n%s", n, minute, text[before:])
		}
		if minute > 0 && (!strings.Contains(text[before:], "active=unknown") || strings.Contains(text[before:], "active=nobody")) {
			t.Errorf("nobody can say who is active, and minute %d is\n%s", minute, text[before:])
		}
		before = len(text)
	}
	l.cut.Store(false)
	_ = stop()
}
