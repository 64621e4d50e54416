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

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// The members of a group are what its log says. The list of peers says where a node finds it: one
// living peer is enough. A node that an operator lets in learns first, and asks by itself to be
// counted once it has caught up. One that was taken out is not let in again by itself.

// A MemberChange is what an operator wants of the members of a group: one of Add, Remove, Promote and Move.
type MemberChange struct {
	Add     Peer   // the peer to let in
	Remove  string // the ID of the member to take out; with Add, of the one that is to go later, by a change of its own
	Force   bool   // also where the process of Remove is active in a role
	Promote string // the ID of the observer to make a voter
	Move    Peer   // the member, with its new address
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
	var later *laterError
	if errors.As(err, &later) { // that did not come in time
		err = lock.Permanent(later)
	}
	return errors.Join(err, cl.Close())
}

// check says what is wrong with a change. A new address must be one that c reaches.
func (m MemberChange) check(c Config) error {
	if p := cmp.Or(m.Add, m.Move); p.ID != "" {
		c.Peers = []Peer{p}
		return c.ValidatePeers()
	}
	return lock.CheckName("ID", cmp.Or(m.Remove, m.Promote))
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
	if m.Remove != "" && !m.Force {
		if err := n.isIdle(m.Remove); err != nil {
			return struct{}{}, err
		}
	}
	switch {
	case m.Add.ID != "":
		return struct{}{}, n.letIn(ctx, m.Add)
	case m.Move.ID != "":
		return struct{}{}, n.move(ctx, m.Move)
	case m.Promote != "":
		return struct{}{}, n.promote(ctx, m.Promote)
	}
	return struct{}{}, n.takeOut(ctx, m.Remove)
}

var errNoLeader = undone{errors.New("no leader is known")}

// onlyOperators refuses who is neither a peer nor has the certificate of an operator.
func (n *node) onlyOperators(r *http.Request) error {
	if n.port.isPeer(r.TLS) || slices.ContainsFunc(r.TLS.PeerCertificates, isOperator) {
		return nil
	}
	return fmt.Errorf("%w: to change members takes one that names a peer's ID, or understudy://operator/NAME as a URI; yours names %s", errForbidden, certs.Names(r.TLS.PeerCertificates[0]))
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
			return lock.Permanent(fmt.Errorf("%q is a member already, at %s: give that address, or say by understudy raft member move that it has another", p.ID, m.Address))
		}
	}
	if err := n.taken(p); err != nil {
		return err
	}
	n.log.Info("a member is let in", "peer", p.ID, "address", p.Address)
	return n.wait(ctx, n.raft.AddNonvoter(raft.ServerID(p.ID), raft.ServerAddress(p.Address), 0, patience))
}

// promote has a member be counted, once it answers and has caught up. It is refused where the voters
// that live, this one too, would be no majority.
func (n *node) promote(ctx context.Context, id string) error {
	m, ok := n.find(id)
	switch {
	case !ok:
		return lock.Permanent(fmt.Errorf("%q is not a member of the group: let it in by understudy raft member add %s=HOST:PORT", id, id))
	case m.Voter:
		return nil
	}
	p := n.peer(id)
	h, err := n.hear(ctx, p)
	if err != nil {
		return later("%q is not counted yet, as it does not answer at %s (%s): start it, and repeat this", id, p.Address, short(err))
	}
	if h.Fails != "" {
		return unreliable(id, h)
	}
	if !h.works(n.dir.group()) { // it would have its vote taken back as soon as it begins
		return later("%q is not counted yet, as it has not begun to learn: that comes by itself, and this may be repeated", id)
	}
	voters := n.voters()
	alive, must := append(n.alive(ctx, voters), id), (len(voters)+1)/2+1
	if len(alive) < must {
		return lock.Permanent(fmt.Errorf("%q is not counted: with it the voters are %s, %s, of which %d must live, and %d answer: %s", id, strings.Join(voters, ", "), id, must, len(alive), strings.Join(alive, ", ")))
	}
	n.log.Info("a member is promoted", "peer", id)
	return n.count(ctx, m, h)
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
		if len(alive) < must {
			return lock.Permanent(fmt.Errorf("%q stays: %s", id, tooFew(left, alive, must)))
		}
	}
	if id == n.config.ID {
		return n.handOver(ctx)
	}
	n.log.Info("a member is taken out", "peer", id)
	return n.wait(ctx, n.raft.RemoveServer(raft.ServerID(id), 0, patience))
}

// tooFew says that too few of the voters that would be left are alive.
func tooFew(left, alive []string, must int) string {
	if len(left) == 0 {
		return "it is the only voter, and a group has one at least"
	}
	text := fmt.Sprintf("without it the voters are %s, of which %d must live, and ", strings.Join(left, ", "), must)
	if len(alive) == 0 {
		return text + "none answers"
	}
	return text + fmt.Sprintf("%d answer: %s", len(alive), strings.Join(alive, ", "))
}

// alive are those of the voters that answer at their addresses and can be relied on, this node too.
func (n *node) alive(ctx context.Context, voters []string) (alive []string) {
	heard := n.greetAll(ctx, slices.DeleteFunc(slices.Clone(voters), func(id string) bool { return id == n.config.ID }))
	for _, id := range voters {
		if h, ok := heard[id]; ok && h.works(n.dir.group()) || id == n.config.ID && n.fails() == "" {
			alive = append(alive, id)
		}
	}
	slices.Sort(alive)
	return alive
}
