package chronicle

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/internal/history"
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

// TestDrainEndsWithTheWork: how long the work took to end, and how long the role could not be given up after that because
// the store was away, are told apart.
func TestDrainEndsWithTheWork(t *testing.T) {
	const beat = time.Second
	at := func(d time.Duration) machine.Instant {
		return machine.Instant{Boot: time.Hour + d, Mono: time.Hour + d, Raw: time.Hour + d}
	}
	silent := errors.New("no answer")
	for _, test := range []struct {
		name   string
		happen func(c *Chronicle, move func(d time.Duration, to machine.State))
		want   []lock.Part
	}{
		{"well", func(c *Chronicle, move func(time.Duration, machine.State)) {
			move(5*beat, machine.StateDraining)
			c.Returned(at(7*beat), "r")
			move(8*beat, machine.StateStandby)
		}, []lock.Part{{Name: lock.PartWork, Took: 5 * beat}, {Name: lock.PartDrain, Took: 2 * beat}, {Name: lock.PartRelease, Took: beat}}},
		{"given up by the first answer", func(c *Chronicle, move func(time.Duration, machine.State)) {
			c.Beaten(at(5*beat), at(3*beat), lock.Unknown, silent, time.Now())
			move(5*beat, machine.StateDraining)
			c.Returned(at(5*beat), "r")
			move(9*beat, machine.StateRegistering)
		}, []lock.Part{{Name: lock.PartWork, Took: 5 * beat}, {Name: lock.PartDrain, Took: 0}, {Name: lock.PartRelease, Took: 4 * beat}, {Name: lock.PartOutage, Took: 6 * beat}}},
		{"given up after a beat", func(c *Chronicle, move func(time.Duration, machine.State)) {
			c.Beaten(at(5*beat), at(3*beat), lock.Unknown, silent, time.Now())
			move(5*beat, machine.StateDraining)
			c.Returned(at(6*beat), "r")
			c.Beaten(at(8*beat), at(8*beat-1), lock.OK, nil, time.Now())
			move(9*beat, machine.StateStandby)
		}, []lock.Part{{Name: lock.PartWork, Took: 5 * beat}, {Name: lock.PartDrain, Took: beat}, {Name: lock.PartRelease, Took: 3 * beat}, {Name: lock.PartOutage, Took: 5 * beat}}},
		{"after an outage of its own", func(c *Chronicle, move func(time.Duration, machine.State)) {
			c.Beaten(at(2*beat), at(beat), lock.Unknown, silent, time.Now())
			c.Beaten(at(4*beat), at(4*beat-1), lock.OK, nil, time.Now())
			c.Returned(at(5*beat), "r")
			move(5*beat, machine.StateDraining)
			move(5*beat, machine.StateStandby)
		}, []lock.Part{{Name: lock.PartWork, Took: 5 * beat}, {Name: lock.PartDrain, Took: 0}, {Name: lock.PartRelease, Took: 0}}},
	} {
		c := New("a", beat, "r")
		move := func(d time.Duration, to machine.State) {
			c.Moved(at(d), Move{Role: "r", To: to, Token: 1, Wall: time.Now()}, lock.Standing{Role: "r"})
		}
		move(0, machine.StateActive)
		test.happen(c, move)
		var got []lock.Part
		c.Write(t.Context(), true, func(_ context.Context, _ string, e lock.Event) error {
			if e.Kind == lock.Ended {
				got = e.Parts
			}
			return nil
		})
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: the parts are %v, want %v", test.name, got, test.want)
		}
	}
}

// TestBeginningSaysWhatTheStoreDid: an outage that fell into the wait for the role, or after which the role was seen to be
// free at once, and that the store had been put back, are told with the beginning; an outage that was over before is not.
func TestBeginningSaysWhatTheStoreDid(t *testing.T) {
	t.Parallel()
	const beat = time.Second
	at := func(d time.Duration) machine.Instant {
		return machine.Instant{Boot: time.Hour + d, Mono: time.Hour + d, Raw: time.Hour + d}
	}
	vacant := lock.Standing{Role: "r", Term: lock.Term{Token: 1, Over: "released", Holder: lock.Member{Contender: lock.Contender{ID: "b", Session: "b-1"}}}}
	for _, test := range []struct {
		name      string
		free      time.Duration // when the role was seen to be free
		from, to  time.Duration // the outage; to 0: it goes on
		rolled    bool
		want      time.Duration
		wantsText bool
	}{
		{"before", 9 * beat, 2 * beat, 6 * beat, false, 0, false},
		{"right before", 6*beat + beat/2, 2 * beat, 6 * beat, false, 4 * beat, false},
		{"meanwhile", 3 * beat, 2 * beat, 6 * beat, false, 4 * beat, false},
		{"still", 3 * beat, 4 * beat, 0, false, 6 * beat, false},
		{"a short one", 3 * beat, 4 * beat, 4*beat + beat/2, false, 0, false},
		{"put back", 3 * beat, 4 * beat, 4*beat + beat/2, true, 0, true},
	} {
		c, wall := New("a", beat, "r"), time.Now()
		c.Beaten(at(beat), at(0), lock.OK, nil, wall)
		c.Stood(at(test.free), vacant, "a-1")
		c.Beaten(at(test.from+beat), at(test.from), lock.Unknown, errors.New("no answer"), wall)
		if test.to > 0 {
			c.Beaten(at(test.to), at(test.to-1), lock.OK, nil, wall)
		}
		if test.rolled {
			c.RolledBack("r")
		}
		c.Moved(at(10*beat), Move{Role: "r", To: machine.StateActivating, Wall: wall}, vacant)
		c.Granted(at(10*beat), "r")
		c.Moved(at(10*beat), Move{Role: "r", To: machine.StateActive, Token: 2, Wall: wall}, vacant)
		c.Write(t.Context(), true, func(_ context.Context, _ string, e lock.Event) error {
			var took time.Duration
			for _, p := range e.Parts {
				if p.Name == lock.PartOutage {
					took = p.Took
				}
			}
			if took != test.want || history.Says(e.Detail, history.RolledBack) != test.wantsText {
				t.Errorf("%s: %+v, want an outage of %s", test.name, e, test.want)
			}
			return nil
		})
	}
}

// TestBeginningSaysWhoCameLater: of a role that was free already when this process first looked, nobody knows for how long.
func TestBeginningSaysWhoCameLater(t *testing.T) {
	t.Parallel()
	holder := lock.Member{Contender: lock.Contender{ID: "b", Session: "b-1"}}
	held, vacant := lock.Standing{Role: "r", Term: lock.Term{Token: 1, Holder: holder}}, lock.Standing{Role: "r", Term: lock.Term{Token: 1, Over: "released", Holder: holder}}
	next := lock.Standing{Role: "r", Term: lock.Term{Token: 2, Over: "released", Holder: holder}}
	taken, given := held, vacant
	taken.Term.Token, given.Term.Token = 3, 3
	silent, beaten := vacant, held
	silent.Term.Over, silent.Term.End, beaten.Term.Holder.Beat = "", lock.End{By: "a", Why: history.Silent}, 2
	for name, test := range map[string]struct {
		seen []lock.Standing
		want bool
	}{
		"free when it came":                          {[]lock.Standing{vacant}, true},
		"free since":                                 {[]lock.Standing{held, vacant}, false},
		"free when it came, taken, free":             {[]lock.Standing{vacant, next}, false},
		"nobody ever had it, then it came":           {[]lock.Standing{{Role: "r"}, vacant}, false},
		"free when it came, had it, then free again": {[]lock.Standing{vacant, {Role: "r", Term: lock.Term{Token: 2, Holder: lock.Member{Contender: lock.Contender{ID: "a", Session: "a-1"}}}}, taken, given}, false},
		"silent when it came":                        {[]lock.Standing{held, held, silent}, true},
		"silent since":                               {[]lock.Standing{held, beaten, silent}, false},
	} {
		c := New("a", time.Second, "r")
		for i, st := range test.seen {
			at := time.Hour + time.Duration(i)*time.Second
			c.Stood(machine.Instant{Boot: at, Mono: at, Raw: at}, st, "a-1")
		}
		now, last := machine.Instant{Boot: 2 * time.Hour, Mono: 2 * time.Hour, Raw: 2 * time.Hour}, test.seen[len(test.seen)-1]
		c.Moved(now, Move{Role: "r", To: machine.StateActivating, Wall: time.Now()}, last)
		c.Granted(now, "r")
		c.Moved(now, Move{Role: "r", To: machine.StateActive, Token: 4, Wall: time.Now()}, last)
		c.Write(t.Context(), true, func(_ context.Context, _ string, e lock.Event) error {
			if history.Says(e.Detail, history.CameLater) != test.want {
				t.Errorf("%s: the event is %+v", name, e)
			}
			return nil
		})
	}
}

// TestBeginningAfterAnotherStore: where the role has no record any more, nobody gave it back.
func TestBeginningAfterAnotherStore(t *testing.T) {
	t.Parallel()
	at := func(n int) machine.Instant {
		d := time.Hour + time.Duration(n)*time.Second
		return machine.Instant{Boot: d, Mono: d, Raw: d}
	}
	held := lock.Standing{Role: "r", Term: lock.Term{Token: 7, Holder: lock.Member{Contender: lock.Contender{ID: "b", Session: "b-1"}}}}
	none := lock.Standing{Role: "r"}
	c := New("a", time.Second, "r")
	c.Stood(at(0), held, "a-1")
	c.Stood(at(8), none, "a-1")
	c.Stood(at(9), none, "a-1")
	c.Moved(at(10), Move{Role: "r", To: machine.StateActivating, Wall: time.Now()}, none)
	c.Granted(at(10), "r")
	c.Moved(at(10), Move{Role: "r", To: machine.StateActive, Token: 9, Wall: time.Now()}, none)
	c.Write(t.Context(), true, func(_ context.Context, _ string, e lock.Event) error {
		if e.Cause != lock.CauseLost || e.Detail != history.OtherStore || e.From != "b" || e.Parts[0] != (lock.Part{Name: lock.PartSilent, Took: 8 * time.Second}) {
			t.Errorf("the event is %+v", e)
		}
		return nil
	})
}
