package coordinator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestOutageIsFewLines: however short the ttl is, however many roles there are, and whatever
// the store's errors say, an outage costs at most ten lines a minute, what happens to the roles
// included.
func TestOutageIsFewLines(t *testing.T) {
	for _, ttl := range []time.Duration{200 * time.Millisecond, time.Second, 10 * time.Second, time.Minute} {
		for _, roles := range []int{1, 20} {
			t.Run(fmt.Sprint(ttl, roles), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { outage(t, ttl, roles) }) })
		}
	}
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

// TestLinesOfRoles: roles share a line where lines are shared, and have one each where not.
func TestLinesOfRoles(t *testing.T) {
	for shared, want := range map[bool]string{false: "[[a] [b] [c]]", true: "[[a c] [b]]"} {
		j := &journal{shared: shared}
		if got := fmt.Sprint(j.lines([]string{"a", "b", "c"}, func(role string) string { return strings.Replace(role, "c", "a", 1) })); got != want {
			t.Errorf("shared: %v: %s, want %s", shared, got, want)
		}
	}
}

func outage(t *testing.T, ttl time.Duration, roles int) {
	s, r := newStage(t), &recorder{begin: time.Now()}
	l := &link{Locker: s.store.Open(), wordy: true}
	c := config("a")
	c.Logger, c.TTL, c.Roles = r.logger(), ttl, nil
	for i := range roles {
		c.Roles = append(c.Roles, lock.Bid{Role: fmt.Sprint("r", i)})
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
