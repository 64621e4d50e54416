package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

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
