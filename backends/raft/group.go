package raft

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// A candidate is a node that asks to be removed, or added: one of two that have the same ID
// is told from the other by its directory.
type candidate struct {
	Peer
	Directory string
}

// A welcome answers it.
type welcome struct{ Group string }

// join asks the peers, of whom one is the leader, to change this node's part.
func (n *node) join(ctx context.Context, phase string) (group string, err error) {
	self := candidate{n.config.peer(n.config.ID), n.dir.read().Directory}
	var errs []error
	for _, p := range n.config.others() {
		ctx, stop := context.WithTimeout(ctx, n.config.attempt())
		var w welcome
		err := n.caller.call(ctx, p, pathJoin+"?phase="+phase, self, &w)
		stop()
		if err == nil {
			n.log.Info("the group answered a node that joins", "phase", phase, "peer", p.ID, "group", w.Group)
			return w.Group, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// change is what the leader does for a peer that joins, once that has answered at its
// address in the list: of two with the same ID the one that others reach is the member.
func (n *node) change(ctx context.Context, c candidate, as Member, phase string) error {
	if !n.running() || !n.leading() {
		return undone{fmt.Errorf("node %q is not the leader", n.config.ID)}
	}
	if phase != "remove" && phase != "add" {
		return lock.Permanent(fmt.Errorf("unknown phase %q, use remove or add", phase))
	}
	h, err := n.hear(ctx, c.Peer)
	switch {
	case err != nil:
		return undone{fmt.Errorf("a node joins only if it answers at its address in the list: %w", err)}
	case h.Directory != c.Directory:
		return undone{fmt.Errorf("another process answers at %s, as %q on another directory: stop one of them", c.Peer, h.ID)}
	case n.member(c.ID) == (phase == "add"):
		return nil
	case phase == "remove" && len(h.Voters) > 0: // it has begun since, and its vote is its own: the call is a late one
		return nil
	}
	if phase == "remove" {
		return n.wait(ctx, n.raft.DemoteVoter(raft.ServerID(c.ID), 0, patience))
	}
	if h.Fails != "" {
		return unreliable(c.ID, h)
	}
	return n.count(ctx, as, h)
}

func unreliable(id string, h hello) error {
	return later("%q is not counted yet, as it cannot be relied on: %s", id, h.Fails)
}

// count makes a voter of a member that has caught up. It stays where the log has it.
func (n *node) count(ctx context.Context, m Member, h hello) error {
	if last := n.raft.CommitIndex(); h.Last+near < last {
		return later("%q is not counted yet, as it has %d of %d entries: that comes by itself, and this may be repeated", m.ID, h.Last, last)
	}
	return n.wait(ctx, n.raft.AddVoter(raft.ServerID(m.ID), raft.ServerAddress(m.Address), 0, patience))
}

// near is how many entries a member may be behind that has caught up.
const near = 64

// wait waits for a change of the group's members.
func (n *node) wait(ctx context.Context, f raft.IndexFuture) error {
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

// enter has the leader count this node whenever it sees that it is not counted: also one that was taken out
// and is let in again while it runs.
func (n *node) enter(ctx context.Context) {
	began, pause := time.Now(), ask
	for ; !n.config.Observer && ctx.Err() == nil; rest(ctx, pause) {
		if n.member(n.config.ID) {
			began, pause = time.Now(), report
			continue
		}
		if _, err := n.join(ctx, "add"); err != nil && time.Since(began) >= report && n.out.Load() == nil && n.said.due("entering") {
			n.log.Warn("waiting for the group's leader to count this node", "id", n.config.ID, "error", err)
		}
		pause = min(2*pause, time.Second)
	}
}

// rest returns after d, or when ctx is done.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// name gives the ledger the group's identity, where it has none yet, and a group of before
// there were identities its own.
func (n *node) name(ctx context.Context) {
	for {
		v, changed, err := n.machine.view()
		if err != nil || v.Identity != "" {
			return
		}
		if n.leading() {
			_, _ = n.apply(ctx, ledger.Command{Op: ledger.Begin, Name: rand.Text()}) // if it failed, again
		}
		select {
		case <-changed:
		case <-time.After(ask):
		case <-ctx.Done():
			return
		}
	}
}

func (n *node) leading() bool { return n.raft.State() == raft.Leader }

// leads reports whether this node is the leader of a group in which id is.
func (n *node) leads(id raft.ServerID) bool {
	_, ok := n.find(string(id))
	return ok && n.leading()
}

func (n *node) member(id string) bool { return slices.Contains(n.voters(), id) }

// members are those of the group as it is, whatever the list says.
func (n *node) members() []Member {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return membersOf(f.Configuration())
}

// find returns the member with the ID.
func (n *node) find(id string) (Member, bool) {
	if n.running() {
		for _, m := range n.members() {
			if m.ID == id {
				return m, true
			}
		}
	}
	return Member{}, false
}

// peer is the one with the ID, of the list or else of the group; the zero Peer where there is none.
func (n *node) peer(id string) Peer {
	for _, p := range n.moved() {
		if p.ID == id {
			return p
		}
	}
	m, _ := n.find(id)
	return cmp.Or(n.config.peer(id), Peer{m.ID, m.Address})
}

// others are the members of the group that are not in the list of peers. Where a peer of the list has a longer log
// this node believes it, too: members may have come while it was away, and one of them may lead.
func (n *node) others() (all []Peer) {
	last := uint64(0)
	if n.running() {
		last = n.raft.LastIndex()
		for _, m := range n.members() {
			all = append(all, Peer{m.ID, m.Address})
		}
	}
	n.mu.Lock()
	met, longest := n.met, n.metLast
	n.mu.Unlock()
	if len(all) == 0 || longest > last {
		for _, p := range met {
			if !slices.ContainsFunc(all, func(known Peer) bool { return known.ID == p.ID }) {
				all = append(all, p)
			}
		}
	}
	return slices.DeleteFunc(all, func(p Peer) bool { return n.config.peer(p.ID).ID != "" })
}

// voters are the IDs of those that count, sorted.
func (n *node) voters() (ids []string) {
	for _, m := range n.members() {
		if m.Voter {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// A Group is what a group of embedded Raft is by its own word, whatever a list of peers
// says.
type Group struct {
	Identity string
	Leader   string        // its ID; being Raft's leader is not being active
	Voters   []string      // their IDs, sorted
	Silent   []string      // those of Voters that gave no answer
	Barred   []string      // those of Silent with which TLS failed: something answers at their addresses, so they may well work
	Failing  []string      // those that gave one, and cannot be relied on: one has no room for its log, or has lost its directory
	Fails    string        // what the first of Failing says of itself; "": nothing
	Empty    []string      // the IDs of peers that wait on an empty data directory
	Trip     time.Duration // the longest round trip between two of them, measured once a minute; 0: not measured yet

	members []Peer
}

// GroupOf is the group of a list of peers, as far as that says it.
func GroupOf(peers []Peer) (g Group) {
	for _, p := range peers {
		g.Voters = append(g.Voters, p.ID)
	}
	slices.Sort(g.Voters)
	return g
}

// Weak says what is unwise about the number of voters; "": nothing.
func (g Group) Weak() string {
	switch n := len(g.Voters); {
	case n == 2:
		return "two voters survive no failure: nobody is active while one of them is away; add a third, which may be: understudy raft-voter"
	case n > 2 && n%2 == 0:
		return fmt.Sprintf("%d voters survive no more failures than %d do: %d", n, n-1, (n-1)/2)
	}
	return ""
}

// Quorum is how many of the voters must be there.
func (g Group) Quorum() int { return len(g.Voters)/2 + 1 }

// Differs says how the voters differ from a list of peers, and what that means; "": they
// do not. What counts are the voters: who is taken off the list counts until it is taken out of the
// group.
func (g Group) Differs(peers []Peer) string {
	var only, lacks []string
	for _, id := range g.Voters {
		if !slices.ContainsFunc(peers, func(p Peer) bool { return p.ID == id }) {
			only = append(only, id)
		}
	}
	for _, p := range peers {
		if !slices.Contains(g.Voters, p.ID) {
			lacks = append(lacks, p.ID)
		}
	}
	if len(g.Voters) == 0 || len(only) == 0 && len(lacks) == 0 {
		return ""
	}
	text := fmt.Sprintf("the group's voters are %s, of which %d must live", strings.Join(g.Voters, ", "), g.Quorum())
	if len(only) > 0 {
		text += "; counted, but not in the list of peers: " + strings.Join(only, ", ")
	}
	if len(lacks) > 0 {
		text += "; in the list, but not counted: " + strings.Join(lacks, ", ")
	}
	return text
}

// Inspect asks the peers of c what their group is, until one knows a leader. With an error
// it returns what they said without. It takes its time before it calls a voter silent: that
// may be far away.
func Inspect(ctx context.Context, c Config) (g Group, err error) {
	if err := c.ValidatePeers(); err != nil {
		return g, fmt.Errorf("raft: %w", err)
	}
	d, err := newDialer(c, "")
	if err != nil {
		return g, fmt.Errorf("raft: %w", err)
	}
	caller := newCaller(d)
	defer func() { d.conns.closeAll(); caller.close() }()
	for limit := attempt / 2; ; limit = min(2*limit, mostPatience) { // they may be far away
		failed := g.ask(ctx, c, caller, limit)
		if more := g.beyond(c); len(more) > 0 && ctx.Err() == nil {
			peers := append(slices.Clone(c.Peers), more...)
			c.Peers = peers
			known := func() []Peer { return peers }
			d.more.Store(&known)
			continue
		}
		if g.Leader != "" && (limit >= attempt || !errors.Is(errors.Join(failed...), context.DeadlineExceeded)) {
			return g, nil
		}
		select {
		case <-time.After(ask):
		case <-ctx.Done():
			return g, errors.Join(append([]error{context.Cause(ctx)}, failed...)...)
		}
	}
}

// beyond are the members that c does not name, and those that have moved and do not answer at the address that it has.
func (g *Group) beyond(c Config) []Peer {
	return slices.DeleteFunc(slices.Clone(g.members), func(p Peer) bool {
		return slices.Contains(c.Peers, p) || c.peer(p.ID).ID != "" && !slices.Contains(g.Silent, p.ID)
	})
}

// ask asks every peer at once. The last word is that of the longest log.
func (g *Group) ask(ctx context.Context, c Config, caller caller, limit time.Duration) (failed []error) {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	type from struct {
		id string
		answer
	}
	answers := make(chan from, len(c.Peers))
	for _, p := range c.Peers {
		go func() {
			var h hello
			err := caller.call(ctx, p, pathHello, hello{}, &h)
			answers <- from{p.ID, answer{h, err}}
		}()
	}
	last := uint64(0)
	g.Leader, g.Trip = "", 0
	var heard []hello
	var barred []string
	for range c.Peers {
		a := <-answers
		if a.err != nil {
			failed = append(failed, a.err)
			if certs.Failed(a.err) {
				barred = append(barred, a.id)
			}
			continue
		}
		g.note(a.h)
		heard = append(heard, a.h)
		if a.h.Last >= last && len(a.h.Voters) > 0 {
			last, g.Identity, g.Voters, g.members = a.h.Last, a.h.Group, a.h.Voters, a.h.Members
		}
		if a.h.Leader != "" {
			g.Leader = a.h.Leader
		}
		g.Trip = max(g.Trip, a.h.Trip)
	}
	g.Silent, g.Failing, g.Barred, g.Fails = nil, nil, nil, ""
	for _, id := range g.Voters {
		switch i := slices.IndexFunc(heard, func(h hello) bool { return h.ID == id }); {
		case i < 0:
			g.Silent = append(g.Silent, id)
			if slices.Contains(barred, id) {
				g.Barred = append(g.Barred, id)
			}
		case !heard[i].works(g.Identity):
			g.Failing, g.Fails = append(g.Failing, id), cmp.Or(g.Fails, heard[i].Fails)
		}
	}
	return failed
}
