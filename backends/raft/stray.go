package raft

import (
	"cmp"
	"context"
	"errors"
	"net"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// A member that was started at another address, and of which the group was not told, may be elected: it reaches the others.
// They would pass every call on to where it was. So they also try the address that it leads from, which each of
// its messages names.

// leader is who leads, by address as the list or the group has it, and as it says itself; ok: somebody else does.
func (n *node) leader() (known, own Peer, ok bool) {
	address, id := n.raft.LeaderWithID()
	own = Peer{string(id), string(address)}
	return cmp.Or(n.config.peer(own.ID), own), own, id != "" && own.ID != n.config.ID
}

// viaLeader makes a call to the leader at the one address, or, where it cannot be reached there, at the other one. The one
// at which it was reached comes first the next time.
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
