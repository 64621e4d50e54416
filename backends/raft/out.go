package raft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/lock"
)

// A node that was taken out of its group no longer hears from a leader. It may not even have the
// entry that took it out. So it asks the others, and believes a leader that does not list it: every
// call of its own process then fails with that reason, until the node is let in again. Who calls from outside goes
// on to another peer.

// A departure is how a node was taken out.
type departure struct {
	why    string // and what to do, for its own process
	leader Peer   // who says so
}

// isOut reports whether the group's leader says that this node is not a member. It asks only while this
// node hears from no leader.
func (n *node) isOut(ctx context.Context) bool {
	const thing = "taken out"
	if _, leader := n.raft.LeaderWithID(); leader != "" {
		n.out.Store(nil)
		return false
	}
	var ids []string
	for _, p := range append(n.config.others(), n.others()...) {
		ids = append(ids, p.ID)
	}
	last := uint64(0)
	for _, h := range n.greetAll(ctx, ids) {
		if h.Leader != h.ID || h.Group != n.dir.group() || len(h.Members) == 0 || h.Last < last {
			continue
		}
		last = h.Last
		if slices.ContainsFunc(h.Members, func(p Peer) bool { return p.ID == n.config.ID }) {
			n.out.Store(nil)
			continue
		}
		text := fmt.Sprintf("node %q was taken out of the group, as its leader %q says: stop this process, and remove its data directory %s; or let it in again by understudy raft member add %s",
			n.config.ID, h.ID, n.config.Dir, n.config.peer(n.config.ID))
		leader := slices.IndexFunc(h.Members, func(p Peer) bool { return p.ID == h.ID })
		if leader < 0 { // it is taken out itself just now
			continue
		}
		n.out.Store(&departure{text, h.Members[leader]})
	}
	if n.out.Load() == nil {
		n.said.over(thing)
		return false
	}
	if n.said.news(thing, "") {
		n.log.Error("this node was taken out of its group: stop it, and remove its data directory, or let it in again", "id", n.config.ID, "error", n.out.Load().why)
	}
	return true
}

// isIdle refuses to take out a member whose process is active in a role: it would go on without a
// node, and lose the role only when its promise is over.
func (n *node) isIdle(id string) error {
	v, _, err := n.machine.view()
	if err != nil {
		return err
	}
	var roles, moves []string
	for _, st := range v.Standings {
		if !st.Term.Vacant() && st.Term.Holder.ID == id {
			roles, moves = append(roles, st.Role), append(moves, "understudy handoff --role "+st.Role)
		}
	}
	if len(roles) == 0 {
		return nil
	}
	return lock.Permanent(fmt.Errorf("%q stays: its process is active in %s: hand over first, by %s; if the process is dead, wait until another is active, or give --force",
		id, strings.Join(roles, ", "), strings.Join(moves, ", ")))
}

// leaderless says why nothing can be proposed: no leader is known.
func (n *node) leaderless() error {
	if d := n.out.Load(); d != nil {
		return lock.Permanent(errors.New(d.why))
	}
	return errNoLeader
}
