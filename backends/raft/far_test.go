package raft

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// apart is a group of three whose peers are as far from each other as plan allows with
// this timing: everybody reaches the others through proxies of its own. near are their
// addresses as a client beside them reaches them.
func apart(t *testing.T, timing time.Duration) (g *group, near []Peer) {
	t.Helper()
	g = newGroup(t, 3, func(c *Config) { c.Timing = timing })
	near = g.configs[0].Peers
	for i := range g.configs {
		far := through(t, near, func(p *servers.Proxy) { p.Delay(MaxTrip(timing) / 2) }) // each way
		far[i] = near[i]
		g.configs[i].Peers = far
	}
	return g.start(), near
}

// through are the peers, each reached through a proxy.
func through(t *testing.T, peers []Peer, change func(*servers.Proxy)) (all []Peer) {
	t.Helper()
	for _, p := range peers {
		proxy, err := servers.StartProxy(p.Address)
		must(t, err)
		t.Cleanup(proxy.Close)
		change(proxy)
		all = append(all, Peer{p.ID, proxy.Addr()})
	}
	return all
}

// TestPeersHalfATimingApart elect a leader, keep it, and apply what is proposed: the
// longest round trip that plan allows.
func TestPeersHalfATimingApart(t *testing.T) {
	const timing = 400 * time.Millisecond
	g, _ := apart(t, timing)
	g.leader()
	eventually(t, "a raised floor", func() bool { return g.lockers[0].Raise(timeout(t, 5*time.Second), 1) == nil })
	leader, follower := g.leader()
	term := g.nodes[leader].raft.Stats()["term"]
	for end := time.Now().Add(10 * timing); time.Now().Before(end); {
		must(t, g.lockers[follower].Raise(timeout(t, 5*time.Second), 1))
	}
	if now, _ := g.leader(); now != leader || g.nodes[leader].raft.Stats()["term"] != term {
		t.Errorf("leader %d of term %s, then %d of term %s", leader, term, now, g.nodes[now].raft.Stats()["term"])
	}
	g.stop(leader)
	eventually(t, "another leader", func() bool { return g.lockers[follower].Raise(timeout(t, 5*time.Second), 1) == nil })
}

// TestClientOfPeersFarApart gets an answer of every peer, of the leader and of those that
// forward to it, also where the peers are seconds from each other.
func TestClientOfPeersFarApart(t *testing.T) {
	t.Parallel()
	_, near := apart(t, 3*time.Second)
	for i, p := range near {
		l, err := Dial(Config{Peers: []Peer{p}})
		must(t, err)
		must(t, l.Raise(timeout(t, time.Minute), lock.Token(i+1))) // there may be an election first
		must(t, l.Close())
	}
}

// TestFarWitness has the others choose a leader although its word takes longer to them than
// a near peer is waited for, and hears that they have.
func TestFarWitness(t *testing.T) {
	g := newGroup(t, 3, slower).start()
	leader, _ := g.leader()
	far := through(t, g.configs[0].Peers, func(p *servers.Proxy) { p.Far(1100*time.Millisecond, 0) })
	dead := g.configs[leader].ID
	l, err := Dial(Config{ID: dead, Peers: far})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	must(t, l.Raise(timeout(t, 15*time.Second), 1)) // as it reads now and then
	g.kill(leader)
	must(t, l.(interface {
		Elect(context.Context, string) error
	}).Elect(timeout(t, 11*time.Second), dead))
	if now, _ := g.leader(); now == leader {
		t.Errorf("%s leads still, which is dead", dead)
	}
}

// TestFarStatus: a client that has just started hears from a far group within the time
// that it takes to connect and to ask each peer once, with some to spare.
func TestFarStatus(t *testing.T) {
	g := newGroup(t, 3, slower).start()
	g.leader()
	far := through(t, g.configs[0].Peers, func(p *servers.Proxy) { p.Far(1100*time.Millisecond, 0) })
	l, err := Dial(Config{Peers: far})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	for st, err := range l.Watch(timeout(t, 5*time.Second), "r") {
		must(t, err)
		if st.Role != "r" {
			t.Errorf("it shows %+v", st)
		}
		return
	}
	t.Error("no answer")
}
