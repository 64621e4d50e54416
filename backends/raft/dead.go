package raft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// leastDead is the shortest Config.DeadAfter, as a multiple of the timing.
const leastDead = 100

// checkDead says what is wrong with DeadAfter.
func (c Config) checkDead() error {
	if least := leastDead * c.timing(); c.DeadAfter != 0 && c.DeadAfter < least {
		return lock.InFields(fmt.Errorf("%v must be at least %v, a hundred times the group's timing: write 24h, or 0 for never", c.DeadAfter, least), "DeadAfter")
	}
	return nil
}

// bury has this node, while it leads, take out a voter that has been silent for DeadAfter. Each node counts for
// itself from its own start, so an election does not begin the count anew. Only time in which this node
// asked and a majority answered counts: a node that was stopped or cut off has heard nobody.
func (n *node) bury(ctx context.Context) {
	limit := n.config.DeadAfter
	if limit == 0 {
		return
	}
	pause := min(report, limit/20)
	silent := map[string]time.Duration{}
	for last := time.Now(); ctx.Err() == nil; rest(ctx, pause) {
		spent := min(time.Since(last), 2*pause)
		last = time.Now()
		voters := n.voters()
		heard := n.greetAll(ctx, slices.DeleteFunc(slices.Clone(voters), func(id string) bool { return id == n.config.ID }))
		if len(heard)+1 < len(voters)/2+1 {
			spent = 0
		}
		maps.DeleteFunc(silent, func(id string, _ time.Duration) bool { return !slices.Contains(voters, id) })
		for _, id := range voters {
			if _, ok := heard[id]; ok || id == n.config.ID {
				delete(silent, id)
			} else {
				silent[id] += spent
			}
		}
		if !n.leading() {
			n.silent.Store(nil)
			continue
		}
		now := maps.Clone(silent)
		n.silent.Store(&now)
		for _, id := range slices.Sorted(maps.Keys(silent)) {
			if silent[id] >= limit && n.takeOutDead(ctx, id, silent[id]) {
				break // the servers that are left are asked again
			}
		}
	}
}

// takeOutDead reports whether a silent voter was taken out: it is not where the voters that are left would be no
// majority.
func (n *node) takeOutDead(ctx context.Context, id string, silent time.Duration) bool {
	err := n.takeOut(ctx, id)
	switch {
	case err == nil:
		n.log.Warn("a voter that was silent for too long is taken out", "peer", id, "after", silent.Round(time.Second), "limit", n.config.DeadAfter, "voters", strings.Join(n.voters(), ","))
	case errors.Is(err, lock.ErrPermanent) && n.said.due("dead: "+id):
		n.log.Warn("a voter is silent for too long, and is not taken out", "peer", id, "error", err)
	}
	return err == nil
}

// greetAll says hello to members at once, and returns the answers of those that are who they should be.
func (n *node) greetAll(ctx context.Context, ids []string) map[string]hello {
	ctx, stop := context.WithTimeout(ctx, patience/2)
	defer stop()
	type from struct {
		id string
		answer
	}
	answers := make(chan from, len(ids))
	for _, id := range ids {
		go func() {
			h, err := n.hear(ctx, n.peer(id))
			answers <- from{id, answer{h, err}}
		}()
	}
	all := map[string]hello{}
	for range ids {
		if a := <-answers; a.err == nil {
			all[a.id] = a.h
		}
	}
	return all
}
