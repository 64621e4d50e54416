package raft

import (
	"fmt"
	"slices"
	"strings"
)

// Once a majority of the voters have lost their data directories, a group never elects a leader
// again: a node without its directory has forgotten its votes, and only a leader can let it back in.
// The nodes that are left may lack entries that were acknowledged. So the group waits, and names the
// way out; docs/raft.md gives the steps.

// empty reports whether a node waits on an empty data directory.
func (h hello) empty() bool { return h.Directory != "" && h.Group == "" && !h.State }

// Lost says that the group has lost its majority, and the way out; "": it has not, as far as is
// known from those who have answered.
func (g Group) Lost() string {
	empty := slices.DeleteFunc(slices.Clone(g.Empty), func(id string) bool { return !slices.Contains(g.Voters, id) })
	if len(g.Voters) == 0 || len(g.Voters)-len(empty) >= g.Quorum() {
		return ""
	}
	slices.Sort(empty)
	return fmt.Sprintf("the group has lost its majority: the data directories of %s are empty, and of its voters %s %d must have kept theirs: "+
		"it chooses no leader any more, and nobody is active. If a disk is not mounted, or another directory was given, put that right. "+
		"Otherwise take what is left to a new group: stop every process of this one, run understudy raft recover on its data directories, "+
		"and then understudy raft restore; see docs/raft.md",
		strings.Join(empty, ", "), strings.Join(g.Voters, ", "), g.Quorum())
}

// note keeps what an answer says of a directory.
func (g *Group) note(h hello) {
	g.Empty = slices.DeleteFunc(g.Empty, func(id string) bool { return id == h.ID })
	if h.empty() {
		g.Empty = append(g.Empty, h.ID)
	}
}

// heard keeps what the others say of their directories. What answers at a peer's address under
// another ID is not that peer.
func (g *Group) heard(me string, answers map[string]answer) {
	for id, a := range answers {
		if a.err == nil && a.h.ID == id && id != me {
			g.note(a.h)
		}
	}
}

func (n *node) warnLost(text string) {
	if text != "" && n.said.due("lost majority") {
		n.log.Warn(text, "id", n.config.ID)
	}
}
