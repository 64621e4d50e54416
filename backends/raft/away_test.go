package raft

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// joins opens a node that knows some peers, and lets it into the group by the word of one.
func (g *group) joins(t *testing.T, like Config, id string, knows ...Peer) *node {
	g.t.Helper()
	p := Peer{id, freeAddress(t)}
	like.ID, like.Dir, like.Peers = id, filepath.Join(g.t.TempDir(), id), append([]Peer{p}, knows...)
	opened := make(chan *node, 1)
	go func() {
		n, err := open(timeout(g.t, time.Minute), like)
		if err != nil {
			g.t.Error(err)
		}
		opened <- n
	}()
	asked := g.configs[2]
	asked.Peers = knows
	must(g.t, Change(timeout(g.t, time.Minute), asked, MemberChange{Add: p}))
	n := <-opened
	if n == nil {
		g.t.FailNow()
	}
	g.t.Cleanup(func() { must(g.t, n.Close()) })
	return n
}

// TestVoterMissesAReplacement: while b is away a is replaced by d, and then c dies. b comes back on its directory, and its
// vote is needed, though its log does not know d.
func TestVoterMissesAReplacement(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"plain": false, "over TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, give := awayGroup(t, secure)
			d := g.joins(t, give("d"), "d", g.configs[0].Peers[0], g.configs[0].Peers[2])
			g.takesOut("a", d)
			g.stop(0)
			g.stop(2)
			eventually(t, "d leads no more", func() bool { return d.raft.State() != raft.Leader })
			g.comesBack(d)
			eventually(t, "a group that commits", func() bool { return d.raises(t) })
		})
	}
}

// TestVoterMissesTheLeader: while b is away a and c are replaced by d and e. b's list names, beside those that are gone, the
// one of the two that does not lead, and it follows the other.
func TestVoterMissesTheLeader(t *testing.T) {
	t.Parallel()
	g, give := awayGroup(t, true)
	a, c := g.configs[0].Peers[0], g.configs[0].Peers[2]
	d := g.joins(t, give("d"), "d", a, c)
	g.takesOut("a", d)
	g.stop(0)
	e := g.joins(t, give("e"), "e", c)
	g.takesOut("c", d)
	g.stop(2)
	var follower *node
	eventually(t, "one of the two leads", func() bool {
		follower = e
		if e.leading() {
			follower = d
		}
		return d.leading() || e.leading()
	})
	g.comesBack(follower)
	eventually(t, "b has all entries", func() bool {
		return g.nodes[1].raft.AppliedIndex() >= d.raft.CommitIndex() && len(g.nodes[1].voters()) == 3
	})
}

// awayGroup is a group of three whose b is away. give is what a node of another ID is configured like.
func awayGroup(t *testing.T, secure bool) (g *group, give func(id string) Config) {
	ca := newAuthority(t)
	g = newGroup(t, 3, func(c *Config) {
		if secure {
			ca.give(c, c.ID)
		}
	}).start()
	g.leader()
	g.stop(1)
	return g, func(id string) Config {
		c := g.configs[0]
		if secure {
			ca.give(&c, id)
		}
		return c
	}
}

// takesOut takes a member out of the group, by the word of another one.
func (g *group) takesOut(id string, asked *node) {
	g.t.Helper()
	c := asked.config
	c.Peers = append([]Peer{}, asked.config.Peers...)
	eventually(g.t, id+" is out", func() bool {
		return Change(timeout(g.t, 5*time.Second), c, MemberChange{Remove: id, Force: true}) == nil && !slices.Contains(asked.voters(), id)
	})
}

// comesBack starts b, which has heard of one more peer.
func (g *group) comesBack(of *node) {
	g.configs[1].Peers = append(slices.Clone(g.configs[1].Peers), of.config.peer(of.config.ID))
	n, err := open(timeout(g.t, time.Minute), g.configs[1])
	must(g.t, err)
	g.nodes[1] = n
	g.t.Cleanup(func() { g.stop(1) })
}

func (n *node) raises(t *testing.T) bool {
	r, err := n.Propose(timeout(t, time.Second), ledger.Command{Op: ledger.Nothing})
	return err == nil && r.Code == ledger.OK
}
