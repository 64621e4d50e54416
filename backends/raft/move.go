package raft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/lock"
)

// Where a member is says the list of peers, as a node may reach it in a way of its own, such as a
// proxy. Once an operator has told the group another address, that counts for this member: where
// one address in the log becomes another. Where several change at once, that is not a move: every founder has written
// its own list, and the first change of members brings that of the leader.

// moved are the members whose address the group was told anew.
func (n *node) moved() (all []Peer) {
	for id, address := range n.dir.read().Moved {
		all = append(all, Peer{id, address})
	}
	return all
}

// noteAddresses records the address of each member in the log, and which of them have moved. It goes through the lists
// one by one, as two members may have moved since it last did. A list that is not known to be committed counts, too, once
// it has stayed for a while: it may say where the member is that must commit it.
func (n *node) noteAddresses() {
	n.noting.Lock()
	defer n.noting.Unlock()
	lists := n.machine.takeLists()
	for _, one := range lists {
		if one.index > n.begun { // else it is applied again
			n.note(one.members)
		}
	}
	now := n.members()
	if len(lists) == 0 && (slices.Equal(now, n.noted) || n.noted == nil) {
		n.note(now)
	}
	n.noted = now
}

func (n *node) note(members []Member) {
	r := n.dir.read()
	now, moved := map[string]string{}, maps.Clone(r.Moved)
	var other []string
	for _, m := range members {
		now[m.ID] = m.Address
		if before := r.Addresses[m.ID]; before != "" && before != m.Address {
			other = append(other, m.ID)
		}
	}
	if len(now) == 0 || maps.Equal(r.Addresses, now) {
		return
	}
	maps.DeleteFunc(moved, func(id, _ string) bool { return now[id] == "" })
	for _, id := range other {
		if len(other) == 1 || moved[id] != "" {
			if moved == nil {
				moved = map[string]string{}
			}
			moved[id] = now[id]
		}
	}
	_ = n.dir.update(func(r *record) { r.Addresses, r.Moved = now, moved }) // the log says why not
}

// route is where the peer at an address of the list is now.
func (d *dialer) route(address string) string {
	moved := d.moved.Load()
	i := slices.IndexFunc(d.peers, func(p Peer) bool { return p.Address == address })
	if moved == nil || i < 0 {
		return address
	}
	for _, p := range (*moved)() {
		if p.ID == d.peers[i].ID {
			return p.Address
		}
	}
	return address
}

// move tells the group another address of a member. It is refused where the voters that answer,
// this one at its new address, would be no majority.
func (n *node) move(ctx context.Context, p Peer) error {
	m, ok := n.find(p.ID)
	switch {
	case !ok:
		return lock.Permanent(fmt.Errorf("%q is not a member of the group: let it in by understudy raft member add %s", p.ID, p))
	case m.Address == p.Address:
		return nil
	}
	if err := n.taken(p); err != nil {
		return err
	}
	if m.Voter {
		voters := n.voters()
		others := slices.DeleteFunc(slices.Clone(voters), func(id string) bool { return id == p.ID })
		alive, must := n.alive(ctx, others), len(voters)/2+1
		if h, err := n.hear(ctx, p); err == nil && h.works(n.dir.group()) {
			alive = append(alive, p.ID)
		}
		if len(alive) < must {
			return lock.Permanent(fmt.Errorf("%q stays at %s: of the voters %s %d must live, and with it at %s %d answer: %s",
				p.ID, m.Address, strings.Join(voters, ", "), must, p.Address, len(alive), strings.Join(alive, ", ")))
		}
	}
	if p.ID == n.config.ID {
		return n.handOver(ctx)
	}
	n.log.Info("a member has moved", "peer", p.ID, "from", m.Address, "to", p.Address)
	change := n.raft.AddNonvoter
	if m.Voter {
		change = n.raft.AddVoter
	}
	err := n.wait(ctx, change(raft.ServerID(p.ID), raft.ServerAddress(p.Address), 0, patience))
	n.noteAddresses()
	return err
}

// taken refuses an address that belongs to another member.
func (n *node) taken(p Peer) error {
	for _, m := range n.members() {
		if m.ID != p.ID && (m.Address == p.Address || n.config.peer(m.ID).Address == p.Address) {
			return lock.Permanent(fmt.Errorf("address %s is that of the member %q: give %q its own", p.Address, m.ID, p.ID))
		}
	}
	return nil
}

// hear asks the node at an address, which must be the one named.
func (n *node) hear(ctx context.Context, p Peer) (hello, error) {
	ctx, stop := context.WithTimeout(ctx, n.config.attempt()/2) // who asked waits for twice as long
	defer stop()
	h, err := n.greetOne(ctx, p)
	if err == nil && h.ID != p.ID {
		err = fmt.Errorf("another node answers at %s: %q", p, h.ID)
	}
	return h, err
}

// handOver makes another voter the leader: one that answers, can be relied on and has caught up. This node stays
// a voter, and the caller must be asked again.
// The library's own transfer may never end where the leader steps down meanwhile, and this node would refuse every
// entry when it leads again (hashicorp/raft#696); so that is for a node that ends. Once it is
// mended there, use it here, too.
func (n *node) handOver(ctx context.Context) error {
	best := hello{}
	for _, h := range n.greetAll(ctx, slices.DeleteFunc(n.voters(), func(id string) bool { return id == n.config.ID })) {
		caughtUp := h.Last+near >= n.raft.CommitIndex()
		if h.works(n.dir.group()) && caughtUp && (best.ID == "" || h.Last > best.Last) {
			best = h
		}
	}
	if best.ID == "" {
		return later("%q leads the group, and no other voter answers that can be relied on and has caught up", n.config.ID)
	}
	var now hello
	err := n.caller.call(ctx, n.peer(best.ID), pathElect, hello{Leader: n.config.ID}, &now)
	return errors.Join(undone{fmt.Errorf("%q leads the group, and hands that over to %q", n.config.ID, best.ID)}, err)
}
