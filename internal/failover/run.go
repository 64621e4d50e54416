package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What became of a run.
const (
	Moved  = "moved"  // another contender works
	Stayed = "stayed" // the active worked on, as it should where only the store lost its leader
	Late   = "late"   // nobody did within the limit
	Broken = "broken" // the stage could not be set, or what was measured is not a failover: see Note
)

// A Sample is one run. Moments are relative to the fault.
type Sample struct {
	Who      string // what contends: Understudy, or a baseline
	Store    string
	Fault    string
	TTL      time.Duration
	Run      int
	Phase    float64 // of the beat interval, at which the fault was injected
	Outcome  string
	Old, New string // contenders
	Led      bool   // the old active led the store that lives in the contenders

	OldEnd  Moment // the last stamp or the end of the old work
	Told    Moment // the winner learned that the role can be taken
	Granted Moment
	Started Moment
	Success Moment
	Stall   Moment // store-leader: the store took a write again
	Overlap time.Duration
	Stale   int // stamps of the old work after the new one had started
	Note    string
}

// Understudy is who contends where no baseline does.
const Understudy = "understudy"

// A Moment is a time after a fault; Unknown where there was none.
type Moment time.Duration

// Unknown is not a moment.
const Unknown = Moment(-1 << 63)

// newSample is a run of which nothing is known yet.
func newSample(b Backend, fault string, ttl time.Duration) Sample {
	return Sample{
		Who: b.Who, Store: b.Name, Fault: fault, TTL: ttl, Outcome: Broken,
		OldEnd: Unknown, Told: Unknown, Granted: Unknown, Started: Unknown, Success: Unknown, Stall: Unknown,
	}
}

// run makes one run at a phase of the beat interval.
func (s *stage) run(ctx context.Context, f Fault, number int, phase float64) Sample {
	r := newSample(s.site.backend, f.Name, s.config.TTL)
	r.Run, r.Phase = number, phase
	if err := s.try(ctx, f, &r); err != nil {
		r.Note = err.Error()
		if r.Outcome != Late {
			r.Outcome = Broken
		}
		if ctx.Err() == nil {
			if err := s.reset(ctx); err != nil {
				r.Note += "; " + err.Error()
			}
		}
	}
	return r
}

var (
	errMoved = errors.New("the role moved before the fault")
	errEnded = errors.New("the work had ended before the fault")
)

func (s *stage) try(ctx context.Context, f Fault, r *Sample) error {
	old, err := s.arrange(ctx, f)
	if err != nil {
		return err
	}
	if f.before != nil {
		if err := f.before(ctx, s); err != nil {
			return err
		}
	}
	select {
	case <-time.After(time.Duration(r.Phase * float64(s.config.BeatEvery()))):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !s.forget(old) {
		return errMoved
	}
	leader, err := s.leader(ctx)
	if err != nil {
		return err
	}
	r.Old, r.Led = old.id, leader == old.id
	if f.servers {
		return s.loseLeader(ctx, f, old, r)
	}
	at, err := f.inject(ctx, s, old)
	if err != nil {
		return err
	}
	if s.endedBefore(old, at) {
		return errEnded
	}
	r.Outcome = Late
	if err := s.awaitNext(ctx, old, s.limit(f)); err != nil {
		s.judge(f, at, old, r)
		return err
	}
	r.Outcome = Moved
	s.judge(f, at, old, r)
	switch {
	case r.Started < 0:
		return errMoved
	case s.endedBefore(old, at): // it is read only now
		return errEnded
	}
	err = f.heal(ctx, s, old)
	s.judge(f, at, old, r) // what the old one stamped after it came back counts
	if err != nil {
		return fmt.Errorf("after the failover: %w", err)
	}
	return nil
}

// endedBefore reports whether a term's work had returned at a moment: what follows is no
// failover of that fault.
func (s *stage) endedBefore(old term, at time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.terms, func(t *term) bool {
		return t.id == old.id && t.token == old.token && t.end != 0 && t.end < at
	})
}

// limit is how long a failover may take before it is late.
func (s *stage) limit(f Fault) time.Duration {
	most := s.site.backend.Patience
	if f.silence {
		most += s.config.TTL + s.config.Skew
	}
	return most
}

// awaitNext waits for another term's success.
func (s *stage) awaitNext(ctx context.Context, old term, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.until(ctx, "a new active", func() bool { return s.after(old.token) != nil })
}

// judge writes down what the stamps of the old term and the next say.
func (s *stage) judge(f Fault, at time.Duration, old term, r *Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	after := func(t time.Duration) Moment {
		if t == 0 {
			return Unknown
		}
		return Moment(t - at)
	}
	var before, next *term
	for _, t := range s.terms {
		switch {
		case t.id == old.id && t.token == old.token:
			before = t
		case next == nil && t.token > old.token && t.success != 0:
			next = t
		}
	}
	if next == nil && r.Outcome == Stayed {
		return
	}
	r.OldEnd = after(max(before.last, before.end))
	if next == nil {
		return
	}
	r.New, r.Granted, r.Started, r.Success = next.id, after(s.granted[next.token]), after(next.start), after(next.success)
	for _, m := range s.told {
		if m.id == next.id && m.at >= at && m.at <= s.granted[next.token] && (m.token == 0 || m.token == next.token) {
			r.Told = after(m.at)
			break
		}
	}
	r.Overlap, r.Stale = s.overlap(func(t *term) bool { return f.pauses && t == before })
}

// overlap is the longest time that a later work was active beside an earlier one, and how
// often the earlier one stamped in it. One that was paused may return late: of it only its
// stamps count.
func (s *stage) overlap(paused func(*term) bool) (most time.Duration, stale int) {
	for _, a := range s.terms {
		until, next := a.last, Endless
		if !paused(a) {
			until = max(until, a.end)
		}
		for _, b := range s.terms {
			if b.token > a.token {
				next = min(next, b.start)
			}
		}
		most = max(most, until-next)
		for _, at := range a.stamps {
			if at > next {
				stale++
			}
		}
	}
	return most, stale
}

// Measure is what a run is about: the gap, or how long the store took no write.
func (r Sample) Measure() Moment {
	if r.Fault == "store-leader" {
		return r.Stall
	}
	return r.Started
}

// Parts are detect, grant and activate, which make the gap.
func (r Sample) Parts() (detect, grant, activate Moment) {
	return r.Told, r.Granted.since(r.Told), r.Started.since(r.Granted)
}

func (m Moment) since(other Moment) Moment {
	if m == Unknown || other == Unknown {
		return Unknown
	}
	return m - other
}
