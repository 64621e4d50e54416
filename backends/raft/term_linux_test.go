package raft

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab/faultdisk"
)

// withoutATerm returns a group whose node 0 needs to save a new term, to give its vote, and has a disk that takes nothing; and
// the node that stands for election.
func withoutATerm(t *testing.T) (g *group, disk *faultdisk.Disk, other int) {
	t.Helper()
	disk = faultdisk.New(t)
	g = newGroup(t, 3, func(c *Config) {
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
	disk.Set(faultdisk.Fault{ReadOnly: true})
	g.stop(l)
	eventually(t, "a to wait for its disk", func() bool { return g.nodes[0].dir.bolt.hangs() > g.nodes[0].longestWrite() })
	return g, disk, 3 - l
}

// TestTermThatCannotBeSaved: a node's disk takes nothing any more, and then its vote is needed. The process that the node is in
// goes on, the node gives no vote, and once the disk is well again it does.
func TestTermThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	g, disk, other := withoutATerm(t)
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

// TestTermThatCannotBeSavedEnds with its node: nothing tries on to write to a directory that others may have then.
func TestTermThatCannotBeSavedEnds(t *testing.T) {
	t.Parallel()
	g, disk, _ := withoutATerm(t)
	n := g.nodes[0]
	g.nodes[0] = nil // it is closed here
	if err := n.Close(); errors.Is(err, errHung) {
		t.Errorf("closed with %v", err)
	}
	disk.Set(faultdisk.Fault{})
	d, err := openDirectory(n.config.Dir, n.config.ID, n.log)
	must(t, err)
	before := d.bolt.writes()
	time.Sleep(3 * untilAgain) // the time in which it would be tried again
	must(t, d.close())
	if _, is := writes(t, n.config.Dir); is != before {
		t.Errorf("raft.db was written %d times, and %d times a while later", before, is)
	}
}
