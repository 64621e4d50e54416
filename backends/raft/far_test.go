package raft

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestPeersHalfATimingApart elect a leader, keep it, and apply what is proposed: the
// longest round trip that plan allows.
func TestPeersHalfATimingApart(t *testing.T) {
	const timing = 400 * time.Millisecond
	g := newGroup(t, 3, func(c *Config) { c.Timing = timing })
	near := g.configs[0].Peers
	var proxies []*servers.Proxy
	t.Cleanup(func() {
		for _, p := range proxies {
			p.Close()
		}
	})
	for i := range g.configs { // everybody reaches the others through proxies of its own
		var far []Peer
		for j, p := range near {
			if i != j {
				proxy, err := servers.StartProxy(p.Address)
				must(t, err)
				proxy.Delay(MaxTrip(timing) / 2) // each way
				proxies = append(proxies, proxy)
				p.Address = proxy.Addr()
			}
			far = append(far, p)
		}
		g.configs[i].Peers = far
	}
	g.start()
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
