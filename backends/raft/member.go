package raft

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/lock"
)

// The members of a group are what its log says. The list of peers says where a node finds it: one
// living peer is enough. A node that an operator lets in learns first, and asks by itself to be
// counted once it has caught up. One that was taken out is not let in again by itself.

// A MemberChange is what an operator wants of the members of a group.
type MemberChange struct {
	Add    Peer   // who is let in; the zero Peer: nobody
	Remove string // the ID of who is taken out; "": nobody
}

// Change makes a change of the group's members, or finds it made. It returns when the group has
// committed it; who is let in is counted later. Under TLS it takes the certificate of a peer or of an
// operator. ErrPermanent: it was refused, and nothing is changed.
func Change(ctx context.Context, c Config, change MemberChange) error {
	c.ID = ""
	if err := errors.Join(c.ValidatePeers(), change.check(c)); err != nil {
		return lock.Permanent(fmt.Errorf("raft: %w", err))
	}
	d, err := newDialer(c, "")
	if err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	cl := newClient(c.Peers, d)
	err = cl.each(ctx, cl.patience(2*attempt), func(t *turn) (bool, error) {
		err := cl.caller.call(t.ctx, t.peer, pathMember, change, &struct{}{})
		return err == nil, err
	})
	return errors.Join(err, cl.Close())
}

// check says what is wrong with a change. A new member must be one that c reaches.
func (m MemberChange) check(c Config) error {
	if m.Add.ID == "" {
		return lock.CheckName("ID", m.Remove)
	}
	c.Peers = []Peer{m.Add}
	return c.ValidatePeers()
}

// serveMember sends who asks to the leader, which makes the change.
func (n *node) serveMember(ctx context.Context, r *http.Request, m MemberChange) (struct{}, error) {
	if err := n.onlyOperators(r); err != nil {
		return struct{}{}, err
	}
	ctx, stop := context.WithTimeout(ctx, n.config.forwards())
	defer stop()
	switch {
	case n.running() && n.leading():
	case r.URL.Query().Get("at") == "leader":
		return struct{}{}, errNoLeader
	default:
		return struct{}{}, n.toLeader(ctx, pathMember+onlyLeader, m, &struct{}{})
	}
	if err := m.check(n.config); err != nil {
		return struct{}{}, err
	}
	if m.Add.ID != "" {
		return struct{}{}, n.letIn(ctx, m.Add)
	}
	return struct{}{}, n.takeOut(ctx, m.Remove)
}

var errNoLeader = fmt.Errorf("%w: no leader is known", errNotApplied)

// toLeader passes a call on: who makes it may know one peer only.
func (n *node) toLeader(ctx context.Context, path string, in, out any) error {
	if !n.running() {
		return errNoLeader
	}
	address, id := n.raft.LeaderWithID()
	if id == "" || string(id) == n.config.ID {
		return errNoLeader
	}
	return n.caller.call(ctx, cmp.Or(n.peer(string(id)), Peer{string(id), string(address)}), path, in, out)
}

// onlyOperators refuses who is neither a peer nor has the certificate of an operator.
func (n *node) onlyOperators(r *http.Request) error {
	if n.port.isPeer(r.TLS) || slices.ContainsFunc(r.TLS.PeerCertificates, isOperator) {
		return nil
	}
	return fmt.Errorf("%w: to change members takes one that names a peer's ID, or understudy://operator/NAME as a URI; yours names %q", errForbidden, namesOf(r.TLS.PeerCertificates[0]))
}

func isOperator(c *x509.Certificate) bool {
	for _, u := range c.URIs {
		if u.Scheme == "understudy" && u.Host == "operator" && len(u.Path) > 1 {
			return true
		}
	}
	return false
}

func (n *node) letIn(ctx context.Context, p Peer) error {
	for _, m := range n.members() {
		switch {
		case m.ID == p.ID && m.Address == p.Address:
			return nil
		case m.ID == p.ID:
			return lock.Permanent(fmt.Errorf("%q is a member already, at %s: take it out first, or give that address", p.ID, m.Address))
		case m.Address == p.Address:
			return lock.Permanent(fmt.Errorf("address %s is that of the member %q: give the new one its own", p.Address, m.ID))
		}
	}
	n.log.Info("a member is let in", "peer", p.ID, "address", p.Address)
	return n.wait(ctx, n.raft.AddNonvoter(raft.ServerID(p.ID), raft.ServerAddress(p.Address), 0, patience))
}

// takeOut refuses where the voters that are left would be no majority.
func (n *node) takeOut(ctx context.Context, id string) error {
	m, ok := n.find(id)
	if !ok {
		return nil
	}
	if m.Voter {
		left := slices.DeleteFunc(n.voters(), func(voter string) bool { return voter == id })
		alive, must := n.alive(ctx, left), len(left)/2+1
		if len(left) == 0 || len(alive) < must {
			return lock.Permanent(fmt.Errorf("%q stays: without it the voters are %s, of which %d must live, and %d answer: %s", id, strings.Join(left, ", "), must, len(alive), strings.Join(alive, ", ")))
		}
	}
	if id == n.config.ID {
		n.resign()
		return fmt.Errorf("%w: %q leads the group, and has handed that over", errNotApplied, id)
	}
	n.log.Info("a member is taken out", "peer", id)
	return n.wait(ctx, n.raft.RemoveServer(raft.ServerID(id), 0, patience))
}

// alive are those of the voters that answer at their addresses, this node too.
func (n *node) alive(ctx context.Context, voters []string) (alive []string) {
	ctx, stop := context.WithTimeout(ctx, patience/2)
	defer stop()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, id := range voters {
		all.Go(func() {
			if id != n.config.ID {
				if h, err := n.greetOne(ctx, n.peer(id)); err != nil || h.ID != id || !h.State {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			alive = append(alive, id)
		})
	}
	all.Wait()
	slices.Sort(alive)
	return alive
}
