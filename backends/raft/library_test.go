package raft

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/understudy-ha/understudy/lock"
)

// These show what is done here about faults of the library that are open: hashicorp/raft v1.7.3.

// TestSnapshotOverADivergedLog (hashicorp/raft#697): a node has entries that were never committed, and the
// leader's snapshot ends among them. It takes the snapshot, and goes on from it.
func TestSnapshotOverADivergedLog(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, func(c *Config) {
		c.snapshots = snapshots{threshold: 20, trailing: 4, interval: 20 * time.Millisecond}
	}).start()
	s := register(t, g.lockers[0], "a")
	first := acquire(t, s)
	standing(t, g.lockers[2], holds(first))
	g.stop(2)
	diverge(t, g.configs[2].Dir, 5000)
	leader, _ := g.leader()
	g.stop(leader) // so that the next one leads in a later term
	g.start(leader)
	floor := lock.Token(0)
	eventually(t, "a log that is cut", func() bool {
		floor++
		_ = g.lockers[0].Raise(timeout(t, 5*time.Second), floor) // the leader may change
		low, err := g.nodes[0].dir.bolt.FirstIndex()
		return err == nil && low > 80
	})
	g.start(2)
	must(t, g.lockers[0].Raise(timeout(t, 20*time.Second), 1000))
	standing(t, g.lockers[2], holds(first))
	eventually(t, "an end of the entries that were never committed", func() bool {
		return g.nodes[2].raft.LastIndex() < 4000
	})
}

// TestLeaderThatHandsOverLeadsAgain (hashicorp/raft#696): who was asked to give way, and stays, takes entries
// when it leads again, whatever has come of the handing over.
func TestLeaderThatHandsOverLeadsAgain(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	ctx := timeout(t, time.Minute)
	for range 6 {
		leader, follower := g.leader()
		for _, i := range []int{leader, follower} { // the second call finds no leader, or another one
			if err := g.nodes[i].handOver(ctx); !errors.Is(err, errNotApplied) {
				t.Errorf("got %v", err)
			}
		}
	}
	for floor := lock.Token(1000); floor < 1006; floor++ {
		eventually(t, "a raised floor", func() bool { return g.lockers[0].Raise(timeout(t, 5*time.Second), floor) == nil })
	}
}

// diverge adds entries to a node's log that nobody else has.
func diverge(t *testing.T, dir string, n uint64) {
	t.Helper()
	bolt, err := raftboltdb.NewBoltStore(dir + "/" + logFile)
	must(t, err)
	last, err := bolt.LastIndex()
	must(t, err)
	var end raft.Log
	must(t, bolt.GetLog(last, &end))
	var all []*raft.Log
	for i := range n {
		all = append(all, &raft.Log{Index: last + 1 + i, Term: end.Term, Type: raft.LogNoop})
	}
	must(t, bolt.StoreLogs(all))
	must(t, bolt.Close())
}
