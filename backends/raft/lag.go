package raft

import (
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// A lag is how long this node's own ledger has been behind what its group has acknowledged
// to it. The others commit what this node asks for, although its own log cannot take it (its
// disk is full, say): then its watches show nothing new, and whoever depends on them would hold
// or be given a role without ever learning of it. So a node that lags for long registers
// nobody, renews nobody and acquires nothing; its sessions run out, and others take over.
type lag struct {
	mu     sync.Mutex
	behind uint64    // the first acknowledged revision that the ledger has not come to; 0: none
	since  time.Time // it was acknowledged
}

// takes says why this process takes no role: its disk takes no entries any more, or hardly so, and
// then the node would learn of nothing that comes after.
func (n *node) takes(c ledger.Command) error {
	answers := c.Op == ledger.Ask && c.Request.Answered
	if c.Op != ledger.Acquire && !answers || n.holds(c) {
		return nil
	}
	if why := n.shortage(); why != "" {
		return fmt.Errorf("raft: node %q takes no role: %s", n.config.ID, why)
	}
	return nil
}

// shortage says what this node's disk does not take; "": nothing is known. A full one may take
// a write now and then, and nobody may count on that.
func (n *node) shortage() string {
	dir, limit := n.config.Dir, n.longestWrite()
	switch index := n.dir.bolt.missed.Load(); {
	case index != 0:
		return fmt.Sprintf("the disk of %s has not taken entry %d; is it full?", dir, index)
	case n.dir.lost.Load():
		return fmt.Sprintf("%s was removed or replaced: this node goes on with files that nobody finds any more", dir)
	case n.dir.full.Load():
		return fmt.Sprintf("the disk of %s is full", dir)
	case n.dir.bolt.hangs() > limit:
		return fmt.Sprintf("the disk of %s has not answered for more than %v", dir, limit)
	}
	return ""
}

// fails says why this node cannot be relied on; "": it can.
func (n *node) fails() string {
	if err := n.machine.err(); err != nil {
		return err.Error()
	}
	return n.shortage()
}

// holds reports whether the session that a command is about has the role already.
func (n *node) holds(c ledger.Command) bool {
	v, _, err := n.machine.view(c.Role)
	return err == nil && len(v.Standings) == 1 && v.Standings[0].Term.Holder.Session == c.Session && !v.Standings[0].Term.Vacant()
}

// follows says why a command is not proposed for this process: its node does not follow.
func (n *node) follows(c ledger.Command) error {
	if err := n.takes(c); err != nil {
		return err
	}
	if c.Op != ledger.Beat && c.Op != ledger.Register && c.Op != ledger.Acquire {
		return nil
	}
	at := n.machine.revision()
	n.lag.mu.Lock()
	defer n.lag.mu.Unlock()
	if n.lag.behind <= at {
		n.lag.behind = 0
	}
	if _, leader := n.raft.LeaderWithID(); leader == "" {
		n.lag.since = time.Now() // nobody can follow, whatever the disk does
	}
	if behind := time.Since(n.lag.since); n.lag.behind != 0 && behind > max(time.Second, 10*n.config.timing()) {
		return fmt.Errorf("raft: node %q does not follow its group's log: it has stood before entry %d for %v; is the disk of %s full?",
			n.config.ID, n.lag.behind, behind.Round(time.Second), n.config.Dir)
	}
	return nil
}

// acknowledged records that the group has committed what this process asked for.
func (n *node) acknowledged(revision uint64) {
	n.lag.mu.Lock()
	defer n.lag.mu.Unlock()
	if n.lag.behind == 0 && revision > n.machine.revision() {
		n.lag.behind, n.lag.since = revision, time.Now()
	}
}

// unfit says why this node should lead no more: its disk has hung for so long that the
// others had better choose another leader.
func (n *node) unfit() error {
	if limit := n.longestWrite(); n.dir.bolt.hangs() > limit {
		return n.dir.cannot("write "+logFile, fmt.Errorf("the disk has not answered for more than %v, and this node leads no more", limit))
	}
	return nil
}

// longestWrite is how long entries may be under way to a disk that works.
func (n *node) longestWrite() time.Duration { return max(n.config.timing(), leastHang) }

// leastHang is what any disk may take now and then.
const leastHang = 500 * time.Millisecond
