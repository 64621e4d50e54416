package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestHealthIsTold: why the health check fails is told when it begins and when the words
// change, and that it passes again.
func TestHealthIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		r := &recorder{begin: time.Now()}
		c := config("a")
		c.Logger, c.HealthEvery = r.logger(), time.Second
		begin := time.Now()
		c.Healthy = func(context.Context) error {
			switch since := time.Since(begin); {
			case since < 10*time.Second || since > 40*time.Second:
				return nil
			case since < 20*time.Second:
				return errors.New("no disk")
			}
			return errors.New("no memory")
		}
		stop := s.contend(c, untilTold)
		time.Sleep(time.Minute)
		_ = stop()
		var told []string
		for line := range strings.Lines(r.trace()) {
			if strings.Contains(line, "health check") && !strings.Contains(line, "transition") {
				told = append(told, strings.TrimSpace(line))
			}
		}
		want := []string{
			`at=10s level=WARN msg="the health check fails" id=a error="no disk"`,
			`at=20s level=WARN msg="the health check fails" id=a error="no memory"`,
			`at=41s msg="the health check passes again" id=a`,
		}
		if !slices.Equal(told, want) {
			t.Errorf("told:\n%s", strings.Join(told, "\n"))
		}
	})
}

// TestHealthThatComesAndGoes is told of seldom, and rightly in the end.
func TestHealthThatComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		r := &recorder{begin: time.Now()}
		c := config("a")
		c.Logger, c.HealthEvery, c.Heartbeat = r.logger(), time.Second, time.Hour
		n := 0
		c.Healthy = func(context.Context) error {
			if n++; n%2 == 0 || n > 200 {
				return fmt.Errorf("error %d", min(n, 200))
			}
			return nil
		}
		stop := s.contend(c, untilTold)
		time.Sleep(5 * time.Minute)
		_ = stop()
		told, last := 0, ""
		for line := range strings.Lines(r.trace()) {
			if strings.Contains(line, "health check") && !strings.Contains(line, "transition") {
				told, last = told+1, line
			}
		}
		if told > 5*3+3 || !strings.Contains(last, "error 200") {
			t.Errorf("%d lines in five minutes, the last: %s", told, last)
		}
	})
}
