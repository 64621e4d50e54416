package raft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/lock"
)

const (
	ask     = 100 * time.Millisecond // between two rounds of questions to the peers; the first pauses of a call are shorter
	attempt = 2 * time.Second        // for one answer
	report  = 5 * time.Second        // between two lines in the log
)

// found decides what an empty directory means. A node whose directory was wiped
// has forgotten its votes, and must not begin a group of its own beside the old
// one. So:
//
//  1. Every peer has said that it is new: a new group begins. An answer stays
//     good, for it says that there was no leader when this node had no data yet.
//  2. A peer has been part of a group: its leader removes this node, and with it
//     its votes. Only then Raft starts, empty, and the leader adds the node again.
//  3. Otherwise somebody is silent, and this node waits.
func (n *node) found(ctx context.Context) error {
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	others := n.config.others()
	fresh := map[string]bool{}
	said := time.Now()
	for {
		old, silent := n.survey(ctx, others, fresh)
		if len(fresh) == len(others) {
			return n.bootstrap()
		}
		why := "waiting for every peer to say that it is new"
		if old {
			err := n.join(ctx, "remove")
			if err == nil {
				return nil
			}
			if errors.Is(err, lock.ErrPermanent) {
				return err
			}
			why, silent = "waiting for the group's leader to let this node in again", []string{err.Error()}
		}
		if time.Since(said) >= report {
			said = time.Now()
			n.log.Warn("empty data directory: "+why, "id", n.config.ID, "silent", silent)
		}
		select {
		case <-time.After(ask):
		case <-ctx.Done():
			return fmt.Errorf("%w while %s: %s", context.Cause(ctx), why, strings.Join(silent, "; "))
		}
	}
}

// survey asks every peer. It notes who is new, and returns whether anybody is
// not, and who is silent and why.
func (n *node) survey(ctx context.Context, others []Peer, fresh map[string]bool) (old bool, silent []string) {
	type answer struct {
		of  Peer
		h   hello
		err error
	}
	answers := make(chan answer, len(others))
	for _, p := range others {
		go func() {
			h, err := n.greetOne(ctx, p)
			answers <- answer{p, h, err}
		}()
	}
	for range others {
		switch a := <-answers; {
		case a.err != nil:
			silent = append(silent, a.err.Error())
		case a.h.ID != a.of.ID:
			silent = append(silent, fmt.Sprintf("peer %s says that it is %q", a.of, a.h.ID))
		case a.h.State:
			old = true
		default:
			fresh[a.of.ID] = true
		}
	}
	slices.Sort(silent)
	return old, silent
}

// bootstrap begins a new group. Racing nodes write the same.
func (n *node) bootstrap() error {
	var c raft.Configuration
	for _, p := range n.config.Peers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	slices.SortFunc(c.Servers, func(a, b raft.Server) int { return strings.Compare(string(a.ID), string(b.ID)) })
	n.log.Info("a new group begins", "id", n.config.ID, "peers", formatPeers(n.config.Peers))
	if err := raft.BootstrapCluster(n.options(), n.dir.bolt, n.dir.bolt, n.dir.snaps, nil, c); err != nil {
		return fmt.Errorf("begin a new group: %w", err)
	}
	return nil
}

// join asks the peers, of whom one is the leader, to change this node's part.
func (n *node) join(ctx context.Context, phase string) error {
	self := n.config.peer(n.config.ID)
	var errs []error
	for _, p := range n.config.others() {
		ctx, stop := context.WithTimeout(ctx, attempt)
		err := n.caller.call(ctx, p, pathJoin+"?phase="+phase, self, new(struct{}))
		stop()
		if err == nil {
			n.log.Info("the group's leader answered a node that joins", "phase", phase, "leader", p.ID)
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// change is what the leader does for a peer that joins.
func (n *node) change(ctx context.Context, p Peer, phase string) error {
	if !n.running() || !n.leading() {
		return fmt.Errorf("%w: node %q is not the leader", errNotApplied, n.config.ID)
	}
	var f raft.IndexFuture
	switch phase {
	case "remove":
		f = n.raft.RemoveServer(raft.ServerID(p.ID), 0, patience)
	case "add":
		f = n.raft.AddVoter(raft.ServerID(p.ID), raft.ServerAddress(p.Address), 0, patience)
	default:
		return fmt.Errorf("%w: unknown phase %q, use remove or add", lock.ErrPermanent, phase)
	}
	n.answer(f)
	done := make(chan error, 1)
	n.calls.Add(1) // within the caller's own
	go func() { defer n.calls.Done(); done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter has the leader add this node until it sees itself in the group.
func (n *node) enter(ctx context.Context) {
	said := time.Now()
	for !n.member(n.config.ID) {
		if err := n.join(ctx, "add"); err != nil && time.Since(said) >= report {
			said = time.Now()
			n.log.Warn("waiting for the group's leader to add this node", "id", n.config.ID, "error", err)
		}
		select {
		case <-time.After(ask):
		case <-ctx.Done():
			return
		}
	}
}

// greet says hello to every peer, once each, to find out who is set up differently.
func (n *node) greet(ctx context.Context) {
	for _, p := range n.config.others() {
		_, _ = n.greetOne(ctx, p) // who is silent says hello when it starts
	}
}

func (n *node) greetOne(ctx context.Context, p Peer) (hello, error) {
	ctx, stop := context.WithTimeout(ctx, attempt)
	defer stop()
	mine, err := n.hello()
	if err != nil {
		return hello{}, err
	}
	var theirs hello
	if err := n.caller.call(ctx, p, pathHello, mine, &theirs); err != nil {
		return hello{}, err
	}
	n.compare(theirs)
	return theirs, nil
}

func (n *node) hello() (hello, error) {
	state, err := n.dir.elected()
	h := hello{ID: n.config.ID, Peers: formatPeers(n.config.Peers), Timing: n.config.timing(), State: state}
	if n.running() {
		_, leader := n.raft.LeaderWithID()
		h.Leader, h.Last = string(leader), n.raft.LastIndex()
	}
	return h, err
}

// compare warns, once, about a peer that is set up differently.
func (n *node) compare(h hello) {
	mine := formatPeers(n.config.Peers)
	if h.ID == "" || h.ID == n.config.ID || h.Peers == mine && h.Timing == n.config.timing() {
		return
	}
	h.Leader, h.Last = "", 0
	if _, before := n.warned.LoadOrStore(h, true); before {
		return
	}
	n.log.Warn("a peer is set up differently, use the same on every node",
		"peer", h.ID, "its timing", h.Timing, "our timing", n.config.timing(), "its peers", h.Peers, "our peers", mine)
}

func (n *node) leading() bool { return n.raft.State() == raft.Leader }

// leads reports whether this node is the leader of a group in which id is.
func (n *node) leads(id raft.ServerID) bool {
	return n.running() && n.leading() && n.member(string(id))
}

func (n *node) member(id string) bool {
	return slices.ContainsFunc(n.servers(), func(s raft.Server) bool { return string(s.ID) == id })
}

func (n *node) voters() int { return len(n.servers()) }

func (n *node) servers() []raft.Server {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}
