package raft

import (
	"os"
	"strings"
	"testing"
)

// TestDirectoryIsRemoved below the leader: it says so, takes no role, and another one leads, which lets a node in that has lost
// its directory, too.
func TestDirectoryIsRemoved(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	old, _ := g.leader()
	first := acquire(t, register(t, g.lockers[old], "a"))
	must(t, os.RemoveAll(g.configs[old].Dir))
	eventually(t, "another leader", func() bool {
		now, _ := g.leader()
		return now != old && strings.Contains(g.nodes[old].fails(), "was removed or replaced")
	})
	now, _ := g.leader()
	other := 3 - old - now
	g.stop(other)
	must(t, os.RemoveAll(g.configs[other].Dir))
	g.start(other)
	g.voting("abc", g.nodes[other])
	standing(t, g.lockers[other], holds(first))
}
