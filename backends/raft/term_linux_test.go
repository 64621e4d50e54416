package raft

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab/faultdisk"
)

// TestTermThatCannotBeSaved: a node's disk takes nothing any more, and then its vote is needed. The process that the node is in
// goes on, the node gives no vote, and once the disk is well again it does.
func TestTermThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	disk := faultdisk.New(t)
	g := newGroup(t, 3, func(c *Config) {
		if c.ID == "a" {
			c.Dir = disk.Dir + "/a"
		}
	}).start()
	eventually(t, "another than a to lead", func() bool {
		l, f := g.leader()
		if l == 0 {
			_ = g.nodes[0].raft.LeadershipTransfer().Error()
		}
		return l != 0 && f >= 0
	})
	l, _ := g.leader()
	other := 3 - l
	disk.Set(faultdisk.Fault{ReadOnly: true})
	g.stop(l)
	eventually(t, "a to wait for its disk", func() bool { return g.nodes[0].dir.bolt.hangs() > g.nodes[0].longestWrite() })
	if text := g.nodes[0].shortage(); text == "" {
		t.Error("a does not say that its disk fails")
	}
	if g.nodes[other].leading() {
		t.Error("a node leads whose peers have saved no vote")
	}
	disk.Set(faultdisk.Fault{})
	eventually(t, "an entry", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.nodes[other].Propose(ctx, ledger.Command{Op: ledger.Raise, Token: 1000})
		return err == nil
	})
}
