package chronicle

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// TestOutageBeginsWithTheFirst attempt that had no answer, also where a later one was given up
// before it. One that is no longer than a beat is not told.
func TestOutageBeginsWithTheFirst(t *testing.T) {
	const beat = time.Second
	silent := errors.New("no answer")
	at := func(d time.Duration) machine.Instant {
		return machine.Instant{Boot: time.Hour + d, Mono: time.Hour + d, Raw: time.Hour + d}
	}
	for answered, want := range map[time.Duration]time.Duration{2 * beat: 2 * beat, beat: 0} {
		c, wall := New("a", beat, "r"), time.Now()
		c.Moved(at(0), Move{Role: "r", To: machine.StateActive, Token: 1, Wall: wall}, lock.Standing{Role: "r"})
		c.Drop() // that it is active
		c.Beaten(at(beat), at(0), lock.OK, nil, wall)
		c.Beaten(at(beat+800*time.Millisecond), at(beat+300*time.Millisecond), lock.Unknown, silent, wall)
		c.Beaten(at(beat+900*time.Millisecond), at(beat), lock.Unknown, silent, wall)
		c.Beaten(at(beat+answered), at(beat+answered-1), lock.OK, nil, wall)
		var took time.Duration
		c.Write(t.Context(), true, func(_ context.Context, _ string, e lock.Event) error {
			took = e.Parts[0].Took
			if e.Kind != lock.Outage || e.Detail != silent.Error() {
				t.Errorf("the event is %+v", e)
			}
			return nil
		})
		if took != want {
			t.Errorf("answered after %v, an outage of %v is told, want %v", answered, took, want)
		}
	}
}
