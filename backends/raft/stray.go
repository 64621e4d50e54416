package raft

import (
	"cmp"
	"context"
	"errors"
	"net"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// A member that was started at a new address can be elected before the group is told of the address, because it reaches the
// others. They would send every call to its old address. So they also try the address that the leader gives in each message.

// leader returns the leader at the address in our list, and at the address that it gives itself. ok is false if nobody else leads.
func (n *node) leader() (known, own Peer, ok bool) {
	address, id := n.raft.LeaderWithID()
	own = Peer{string(id), string(address)}
	return cmp.Or(n.config.peer(own.ID), own), own, id != "" && own.ID != n.config.ID
}

// viaLeader calls the leader at one of its two addresses and, if nothing answers there, at the other. The next call begins with
// the one that was tried last.
func (n *node) viaLeader(known, own Peer, call func(Peer) error) error {
	first, second := known, own
	if stray := n.stray.Load(); stray != nil && *stray == own {
		first, second = own, known
	}
	err := call(first)
	if first == second || err == nil || !isUnreached(err) {
		return err
	}
	n.stray.Store(&second)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) { // the next call begins with it
		return err
	}
	return call(second)
}

// isUnreached reports whether nothing was sent, for want of a connection.
func isUnreached(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

// passOn has the leader apply a command.
func (n *node) passOn(ctx context.Context, c ledger.Command) (r ledger.Result, err error) {
	known, own, ok := n.leader()
	if !ok {
		return r, n.leaderless()
	}
	err = n.viaLeader(known, own, func(p Peer) (err error) {
		r, err = n.caller.propose(ctx, p, pathPropose+onlyLeader, c)
		return err
	})
	return r, err
}

// toLeader passes a call on: who makes it may know one peer only.
func (n *node) toLeader(ctx context.Context, path string, in, out any) error {
	if !n.running() {
		return errNoLeader
	}
	known, own, ok := n.leader()
	if !ok {
		return errNoLeader
	}
	return n.viaLeader(known, own, func(p Peer) error { return n.caller.call(ctx, p, path, in, out) })
}
