package raft

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A directory that was copied, or put back as it once was, makes two nodes of one: the copy
// votes again where the other has voted, and lacks what it has acknowledged since. Of two
// processes with the same ID, the one that answers at the address in the list is the node.
// The other is refused, at its start and whenever it appears, as long as the first one
// answers. So is a directory of which a peer knows that it was written more often.

// A verdict is what asking back has shown about a process.
type verdict struct {
	twin bool
	at   time.Time
}

// meet asks this node's own address and its peers, before Raft runs, whether it may.
func (n *node) meet(ctx context.Context) error {
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	ctx, stop := context.WithTimeout(ctx, 2*ask)
	defer stop()
	answers := n.askAll(ctx)
	for _, p := range n.config.Peers {
		if a := answers[p.ID]; a.err == nil {
			if err := n.objects(p, a.h); err != nil {
				return err
			}
		}
	}
	return nil
}

// objects says why this node must not run, as the answer of p shows; nil: it may.
func (n *node) objects(p Peer, h hello) error {
	switch {
	case p.ID == n.config.ID && h.ID == p.ID && h.Process != n.process:
		return lock.Permanent(fmt.Errorf("another process runs as node %q and answers at its address %s: stop it, or, if this one's data directory %s is a copy, remove that", p.ID, p.Address, n.config.Dir))
	case p.ID == n.config.ID || h.ID != p.ID:
		return nil
	case h.Twin:
		return lock.Permanent(fmt.Errorf("another process runs as node %q, peer %q reaches it at the address in its list, and not this one: stop it, or, if this one's data directory %s is a copy, remove that", n.config.ID, p.ID, n.config.Dir))
	case h.Known > n.dir.bolt.writes():
		return partial(n.config.Dir, "it is older than it was: %s was written %d times, and peer %q knows of %d", logFile, n.dir.bolt.writes(), p.ID, h.Known)
	}
	return nil
}

// heed ends this node's part in the group where an answer shows that it must not run.
func (n *node) heed(p Peer, h hello) {
	if !n.running() {
		return
	}
	if err := n.objects(p, h); err != nil && n.machine.err() == nil {
		n.log.Error("this node stops: it must not run beside another one", "id", n.config.ID, "error", err)
		n.machine.refuse(err)
		n.halt() // it votes no more; Close waits for it
	}
}

// remember notes how often the directory of the peer that answered was written.
func (n *node) remember(p Peer, h hello) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.ID == p.ID && len(h.Members) > 0 && n.config.peer(p.ID).ID != "" {
		n.met = h.Members
	}
	if h.ID != p.ID || h.ID == n.config.ID || h.Writes <= n.known[h.Directory] {
		return
	}
	if len(n.known) >= maxKnown {
		clear(n.known)
	}
	n.known[h.Directory] = h.Writes
}

// reply adds to a hello what this node knows of the one who asked.
func (n *node) reply(ctx context.Context, to hello, with *hello) {
	if to.Process == "" || len(to.Process) > 2*len(n.process) { // it is no node's
		return
	}
	if to.ID == n.config.ID && to.Process != n.process {
		if n.said.news("twin", to.Process) {
			n.log.Error("another process runs with this node's ID: stop it, and remove its data directory if that is a copy", "id", to.ID)
		}
	}
	p := n.peer(to.ID)
	if p.ID == "" || p.ID == n.config.ID {
		return
	}
	with.Twin = n.isTwin(ctx, p, to.Process)
	n.mu.Lock()
	with.Known = n.known[to.Directory]
	n.mu.Unlock()
}

// isTwin reports whether another process than the one named answers at p's address.
func (n *node) isTwin(ctx context.Context, p Peer, process string) bool {
	n.mu.Lock()
	v, asked := n.verdicts[process]
	n.mu.Unlock()
	if asked && time.Since(v.at) < report {
		return v.twin
	}
	select {
	case n.asking <- struct{}{}:
		defer func() { <-n.asking }()
	default: // it asks again, when fewer do
		return false
	}
	ctx, stop := context.WithTimeout(ctx, n.config.attempt()/4) // who asked waits
	defer stop()
	var h hello
	err := n.caller.call(ctx, p, pathHello, hello{}, &h) // who asks without a name is not asked back
	v = verdict{err == nil && h.ID == p.ID && h.Process != process, time.Now()}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.verdicts) >= maxKnown {
		clear(n.verdicts)
	}
	n.verdicts[process] = v
	return v.twin
}
