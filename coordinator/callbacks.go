package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// Callbacks are calls to what the user provides besides the work. Nothing that is done for a role
// waits for one.
type callbacks struct {
	mu    sync.Mutex
	open  map[string]int // by the name of the field
	ended chan struct{}  // closed and replaced when one returns
}

// run calls f, which belongs to the named field of a Config.
func (c *callbacks) run(name string, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open, c.ended = map[string]int{}, make(chan struct{})
	}
	c.open[name]++
	go func() {
		defer func() { // also where it ends its goroutine
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.open[name]--; c.open[name] == 0 {
				delete(c.open, name)
			}
			close(c.ended)
			c.ended = make(chan struct{})
		}()
		f()
	}()
}

// wait waits until all have returned, but no longer than patience, and names those that have not.
func (c *callbacks) wait(patience time.Duration) error {
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		c.mu.Lock()
		open, ended := slices.Sorted(maps.Keys(c.open)), c.ended
		c.mu.Unlock()
		if len(open) == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-end.C:
			return fmt.Errorf("%s %w %v after its context ended", strings.Join(open, ", "), ErrNotReturned, patience)
		}
	}
}

// pulseEvery is how often the witness must hear that the loop turns.
func (r *runner) pulseEvery() time.Duration {
	if r.config.HangTimeout < 0 || !r.config.witnessed() {
		return never
	}
	return r.config.HangTimeout / 5
}

// check asks whether this process is healthy, until Run ends.
func (r *runner) check() {
	for r.calls.Err() == nil {
		now := r.config.Now()
		r.checking.Store(&now)
		err := r.config.Healthy(r.calls)
		r.checking.Store(nil)
		r.post(news{event: machine.Checked{Healthy: err == nil}, call: checks, err: err})
		select {
		case <-r.calls.Done():
		case <-time.After(r.config.HealthEvery):
		}
	}
}

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
		switch { // it comes last in the line that every contender reads
		case r.machine.Session().Unfit:
			b.Priority -= lock.NotHealthy
		case r.hasFailed(b.Role):
			b.Priority -= lock.Recovering
		case r.cold[i].Load():
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

// FenceOutcomes are the ways in which a fence command may end. dead: its host is dead, and was the
// active until then. failed. late: its time was over first, and the promise counted. moved: the
// active had beaten again, or was ended by others, so the command's word was not needed.
func FenceOutcomes() []string { return slices.Clone(fenceOutcomes[:]) }

const (
	fenceDead = iota
	fenceFailed
	fenceLate
	fenceMoved
)

var fenceOutcomes = [...]string{fenceDead: "dead", fenceFailed: "failed", fenceLate: "late", fenceMoved: "moved"}

var errFenceLate = errors.New("its time was over, with the promise")

// checkFence says whether a store keeps what fencing needs.
func (c Config) checkFence(l lock.Locker) error {
	if _, ok := l.(lock.Operator); c.Fence != nil && !ok {
		return lock.InFields(fmt.Errorf("a %T keeps no intents, as a lock.Operator does; leave it out", l), "Fence")
	}
	return nil
}

// fence calls Fence against the host of a silent holder. Nothing waits for it.
func (r *runner) fence(a machine.Fence) {
	t := r.standings[a.Role].Term
	r.config.Logger.Warn("the active is silent, and its host is fenced", "role", a.Role, "id", r.config.ID,
		"active", t.Holder.ID, "token", uint64(t.Token), "left", a.For.Round(time.Millisecond))
	r.asked.run("Fence", func() {
		ctx, cancel := context.WithTimeoutCause(r.calls, a.For, errFenceLate)
		defer cancel()
		err := r.config.Fence(ctx, t.Holder.Contender)
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = errors.Join(cause, err)
		}
		r.post(news{event: machine.Fenced{Session: a.Session, Beat: a.Beat, Dead: err == nil}, role: a.Role, err: err})
	})
}

// endFence tells how a fence command ended. The machine judges whether its word counts.
func (r *runner) endFence(e machine.Fenced, n news) {
	t := r.standings[n.role].Term
	log := r.config.Logger.With("role", n.role, "id", r.config.ID, "session", string(e.Session))
	same := t.Holder.Session == e.Session && t.Holder.Beat == e.Beat && !t.Vacant()
	switch {
	case errors.Is(n.err, errFenceLate):
		r.board.fenced(fenceLate)
		log.Warn("the fence command did not succeed in time: the promise counts", "error", n.err)
		r.annals.Unfenced(n.role, n.err)
	case n.err != nil:
		r.board.fenced(fenceFailed)
		log.Warn("the fence command failed: the promise counts", "error", n.err)
		r.annals.Unfenced(n.role, n.err)
	case !same:
		r.board.fenced(fenceMoved)
		log.Warn("the fence command succeeded, but that session had another beat meanwhile, or was over: nothing is ended for it")
	default:
		r.fenced = e.Session
		r.board.fenced(fenceDead)
		log.Warn("the fence command succeeded: the host is dead, and the session is ended")
	}
}

// fenced counts how a fence command ended.
func (b *board) fenced(outcome int) {
	if b != nil {
		b.fences[outcome].Add(1)
	}
}

// fenceCounts are the counts, by outcome.
func (b *board) fenceCounts() map[string]uint64 {
	all := map[string]uint64{}
	for i, name := range fenceOutcomes {
		all[name] = b.fences[i].Load()
	}
	return all
}
