package raft

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestLeaderAtAnotherAddress elects a member that came back at an address that only its own list has. The others' calls
// reach it there, and so does the call that tells the group of the address.
func TestLeaderAtAnotherAddress(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	g := newGroup(t, 3, func(c *Config) { ca.give(c, c.ID) }).start()
	g.raises(0, 1000)
	for i := range g.nodes {
		g.stop(i)
	}
	to := Peer{"c", freeAddress(t)}
	g.configs[2].Peers = slices.Concat(g.configs[2].Peers[:2], []Peer{to})
	for round := 0; ; round++ {
		g.start(2) // it stands for election again and again, and so before a does
		g.start(0)
		leader, _ := g.leader()
		if leader == 2 {
			break
		}
		if round == 20 {
			t.Fatal("it is never elected")
		}
		g.stop(0)
		g.stop(2)
	}
	raised := func(l lock.Locker, to lock.Token) {
		t.Helper()
		must(t, l.Raise(timeout(t, 10*time.Second), to))
	}
	raised(g.lockers[0], 2000)
	g.start(1)
	eventually(t, "b follows it", func() bool { _, own, ok := g.nodes[1].leader(); return ok && own == to })
	raised(g.lockers[1], 3000)
	must(t, Change(timeout(t, 20*time.Second), g.configs[0], MemberChange{Move: to}))
	raised(g.lockers[1], 4000)
}
