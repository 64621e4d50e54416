package raft

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// TestDeposedLeaderEnds has leaders give way in the midst of entries: what they had begun to
// send keeps none of them from ending. With the library's pipeline about one run in two failed.
func TestDeposedLeaderEnds(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	data, err := encode(ledger.Command{Op: ledger.Nothing})
	must(t, err)
	if _, err := g.nodes[0].transport.AppendEntriesPipeline("b", ""); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("pipelining: %v", err)
	}
	for range 20 {
		l, _ := g.leader()
		n, busy, stop := g.nodes[l], sync.WaitGroup{}, make(chan struct{})
		before := n.raft.LastIndex()
		for range 16 {
			busy.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = n.commit(data, patience) // until another leads
					}
				}
			})
		}
		eventually(t, "entries", func() bool { return n.raft.LastIndex() > before+100 })
		_ = n.raft.LeadershipTransfer().Error() // it fails where the other is not quick enough
		close(stop)
		busy.Wait()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range g.nodes {
			g.stop(i)
		}
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		panic("a node does not end: see what the library's goroutines wait for")
	}
}

// TestLeaderWhoseDiskHangs has entries wait for a leader's disk: the others go on without it,
// and it follows once the disk answers.
func TestLeaderWhoseDiskHangs(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	l, f := g.leader()
	disk := &g.nodes[l].dir.bolt.mu
	disk.Lock() // taken before a write is done
	answer := sync.OnceFunc(disk.Unlock)
	defer answer()
	eventually(t, "an entry", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the first try may wait for the disk
		defer cancel()
		_, err := g.nodes[f].Propose(ctx, ledger.Command{Op: ledger.Raise, Token: 1000})
		return err == nil
	})
	answer()
	eventually(t, "the old leader to follow", func() bool {
		return !g.nodes[l].leading() && g.nodes[l].machine.revision() >= g.nodes[f].machine.revision()
	})
}

// TestCloseWhileTheDiskHangs closes a leader whose entries wait for its disk: it ends all the same, says
// so, and nobody else has the directory meanwhile.
func TestCloseWhileTheDiskHangs(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	l, _ := g.leader()
	n := g.nodes[l]
	g.nodes[l] = nil // it is closed here
	disk := &n.dir.bolt.mu
	disk.Lock()
	answer := sync.OnceFunc(disk.Unlock)
	defer answer()
	go func() { _, _ = n.commit([]byte("{}"), patience) }() // it fails with the node
	eventually(t, "a write that hangs", func() bool { return n.dir.bolt.hangs() > 0 })
	closed := make(chan error, 1)
	go func() { closed <- n.Close() }()
	select {
	case err := <-closed:
		if !errors.Is(err, errHung) {
			t.Errorf("closed with %v, want that its disk hangs", err)
		}
	case <-time.After(ending + 20*time.Second):
		t.Fatal("it does not end")
	}
	if f, err := lockDirectory(n.config.Dir); err == nil {
		t.Error("the directory is free, and what hangs may write to it yet")
		_ = f.Close()
	}
	answer()
}
