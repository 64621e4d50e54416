package coordinator

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestTooFarIsSaid: where beats take longer than plan allows, an active and a standby say so once, as a warning with what
// would fit; and nobody does where they fit.
func TestTooFarIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		part time.Duration // of a try, in tenths
		want int
	}{"near": {1, 0}, "just fits": {8, 0}, "too far": {11, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				logs := map[string]*lab.Said{}
				for _, id := range []string{"a", "b"} {
					log, one := new(lab.Said), config(id)
					one.Logger = slog.New(slog.NewTextHandler(log, nil))
					stop := s.contendOver(slowly{s.store.Open(), one.Defaults().Try() * c.part / 10}, one, untilTold)
					defer func() { _ = stop() }()
					time.Sleep(time.Minute)
					logs[id] = log
				}
				time.Sleep(time.Hour)
				if got := s.active(); len(got) != 1 {
					t.Errorf("active: %v, want one that stays", got)
				}
				for id, log := range logs {
					if n := strings.Count(log.String(), theTrip); n != c.want {
						t.Errorf("%s says %d times that the store is too far away, want %d\n%s", id, n, c.want, log)
					}
					if c.want > 0 && !strings.Contains(log.String(), `level=WARN msg="`+theTrip+`" id=`+id+` error="a beat takes 1.375s, and nine tenths of a try are 1.125s"`) {
						t.Errorf("it does not say how far:\n%s", log)
					}
				}
			})
		})
	}
}

// TestSlowForAMoment: two late beats are no reason to raise the ttl, and when the store is near again that is said.
func TestSlowForAMoment(t *testing.T) {
	var log bytes.Buffer
	c := config("a")
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	tr := newTroubles(c.Defaults())
	far, near, now := c.Defaults().Try(), c.Defaults().Try()/10, Virtual()
	for _, trip := range []time.Duration{far, far, near, far, far, near} {
		tr.took(now, trip)
	}
	if log.Len() > 0 {
		t.Errorf("said after two late beats:\n%s", &log)
	}
	for _, trip := range []time.Duration{far, far, far, far, near} {
		tr.took(now, trip)
	}
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, theTrip) || !strings.Contains(text, endings[theTrip]) {
		t.Errorf("want that it is too far, and that it is near again:\n%s", text)
	}
}
