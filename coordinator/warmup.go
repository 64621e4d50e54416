package coordinator

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// MaxPriority is the greatest priority of a role's bid, and its negative the smallest.
const MaxPriority = lock.MaxPriority

// Ready reports whether the member of a line is ready to take over, healthy, and not drained; see
// Config.Ready and Config.Healthy.
func Ready(m lock.Member) bool { return m.Ready() }

func (c *Config) lag(role string) time.Duration {
	if c.Lag == nil {
		return -1
	}
	return c.Lag(role)
}

// LagSeconds is Lag as metrics have it: infinite where this process has no copy of the state yet.
func (s RoleStatus) LagSeconds() float64 {
	if s.Lag == math.MaxInt64 {
		return math.Inf(1)
	}
	return s.Lag.Seconds()
}

// A warmup is one run of Config.Standby. It has returned when done is closed.
type warmup struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// warmUp runs Standby for a role, after the previous run has returned.
func (r *runner) warmUp(role string) {
	if r.config.Standby == nil {
		return
	}
	before := r.warm[role]
	ctx, cancel := context.WithCancel(r.calls)
	w := &warmup{cancel: cancel, done: make(chan struct{})}
	r.warm[role] = w
	r.asked.run("Standby", func() {
		defer close(w.done)
		if before != nil {
			<-before.done
		}
		for first := true; first || ctx.Err() == nil; first = false {
			err := r.config.Standby(ctx, role)
			if err == nil || ctx.Err() != nil {
				return
			}
			r.config.Logger.Warn("standby failed; it is called again", "role", role, "id", r.config.ID, "error", err)
			pause(ctx, r.config.BeatEvery())
		}
	})
}

// end tells the run to end and waits until it has, but no longer than patience. There may be
// none.
func (w *warmup) end(patience time.Duration) error {
	if w == nil {
		return nil
	}
	w.cancel()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("standby has not returned %v after its context ended", patience)
	}
}

// warmAgain warms up for a role whose work has returned, and ends every warm-up when Run is to
// return.
func (r *runner) warmAgain(n news) {
	e, returned := n.event.(machine.Returned)
	switch {
	case r.machine.Session().Stopping:
		for _, w := range r.warm {
			w.cancel()
		}
	case returned && !r.machine.Role(e.Role).Done:
		r.warmUp(e.Role)
	}
}

// askReady asks which roles this process is ready for, now and every BeatEvery until Run ends. It
// waits for the first answer, but no longer than a try: until it answers, the process is not
// ready.
func (r *runner) askReady() {
	for i := range r.cold {
		r.cold[i].Store(true)
	}
	answered := make(chan struct{})
	r.asked.run("Ready", func() {
		for first := true; r.calls.Err() == nil; first = false {
			changed := false
			for i, b := range r.config.Roles {
				cold := !r.config.Ready(b.Role)
				changed = r.cold[i].Swap(cold) != cold || changed
			}
			if first {
				close(answered)
			} else if changed {
				r.post(news{event: machine.Rebid{}})
			}
			pause(r.calls, r.config.BeatEvery())
		}
	})
	select {
	case <-answered:
	case <-time.After(r.config.Try()):
	}
}

// bids are the roles that this process competes for now.
func (r *runner) bids() []lock.Bid {
	var left []lock.Bid
	for i, b := range r.config.Roles {
		if r.machine.Role(b.Role).Done {
			continue
		}
		if r.cold[i].Load() || r.machine.Session().Unfit || r.hasStalled(b.Role) { // so that it comes last in the line that every contender reads
			b.Priority -= lock.NotReady
		}
		left = append(left, b)
	}
	return left
}

// rebid returns the bids that a beat carries: none if the store knows them. A change is carried
// by a few beats, because the tries of one may commit in another order.
func (r *runner) rebid() []lock.Bid {
	now := r.bids()
	if !slices.Equal(now, r.bidden) {
		r.bidden, r.untold = now, machine.OpenBeats+1
	}
	if r.untold == 0 {
		return nil
	}
	return now
}

type coldness []atomic.Bool // one for each of Config.Roles
