package raft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

func TestWipedNodeNeverForks(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	first := acquire(t, register(t, g.lockers[0], "a"))
	g.stop(2)
	must(t, os.RemoveAll(g.configs[2].Dir))
	g.start(2)
	eventually(t, "the wiped node's return", func() bool { return len(g.nodes[2].voters()) == 3 })
	standing(t, g.lockers[2], holds(first))

	// It counts again: with one of the others it is a majority.
	g.stop(0)
	eventually(t, "a raised floor", func() bool { // a new leader may just be chosen, and the outcome unknown
		return g.lockers[2].Raise(timeout(t, 10*time.Second), first+1000) == nil
	})
}

func TestWipedNodeWaitsForTheOthers(t *testing.T) {
	g := newGroup(t, 3, nil).start()
	acquire(t, register(t, g.lockers[0], "a"))
	for i := range g.nodes {
		g.stop(i)
	}
	must(t, os.RemoveAll(g.configs[2].Dir))
	begun := time.Now()
	_, err := open(timeout(t, 500*time.Millisecond), g.configs[2])
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), g.configs[0].Peers[0].String()) {
		t.Fatalf("want an error that names who is silent, got %v", err)
	}
	if took := time.Since(begun); took > time.Second {
		t.Fatalf("gave up after %v", took)
	}
	// One peer with state and no majority: it still must not begin a group.
	g.start(0)
	if _, err := open(timeout(t, 500*time.Millisecond), g.configs[2]); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("want DeadlineExceeded, got %v", err)
	}
	g.start(1)
	g.start(2)
	eventually(t, "three voters", func() bool { return len(g.nodes[2].voters()) == 3 })
}

func TestNodeThatComesBackHearsAtOnce(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	s := register(t, g.lockers[0], "a")
	first := acquire(t, s)
	g.stop(2)
	ctx := timeout(t, 20*time.Second)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // while the dead peer is missed for several timings
		_ = s.Beat(ctx) // the leader may change
	}
	g.start(2)
	begun := time.Now()
	standing(t, g.lockers[2], holds(first))
	took := time.Since(begun)
	t.Logf("heard of the role after %v", took)
	if took > 2*time.Second { // the library alone backs off for as long as the node was away
		t.Errorf("heard of the role after %v", took)
	}
}

func TestSnapshotWakesWatchers(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, func(c *Config) {
		c.snapshots = snapshots{threshold: 16, trailing: 4, interval: 20 * time.Millisecond}
	}).start()
	s := register(t, g.lockers[0], "a")
	first := acquire(t, s)
	g.stop(2)
	ctx := timeout(t, 20*time.Second)
	eventually(t, "a log that is cut", func() bool {
		_ = s.Beat(ctx) // the leader may change
		low, err := g.nodes[0].dir.bolt.FirstIndex()
		return err == nil && low > 40
	})
	must(t, s.Release(ctx, "r", first))
	second := acquire(t, s)
	g.start(2) // what it lacks is gone from the log
	standing(t, g.lockers[2], holds(second))
	g.stop(0)
	g.start(0) // from its own snapshot
	standing(t, g.lockers[0], holds(second))
}

func TestRestoreWakesWatchers(t *testing.T) {
	t.Parallel()
	from, to := newMachine(), newMachine()
	data, err := encode(ledger.Command{Op: ledger.Raise, Token: 7})
	must(t, err)
	from.Apply(&raft.Log{Index: 9, Data: data})
	image, err := from.Snapshot()
	must(t, err)
	_, changed, err := to.view()
	must(t, err)
	must(t, to.Restore(readCloser(image.(snapshot))))
	select {
	case <-changed:
	default:
		t.Fatal("nobody was woken")
	}
	if v, err := to.look(context.Background(), ledger.Mark{Revision: 8}); err != nil || v.Revision != 9 {
		t.Fatalf("revision %d, %v", v.Revision, err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, nil).start()
	g.leader()
	s := register(t, g.lockers[0], "a")
	must(t, g.nodes[0].raft.Apply([]byte(`{"Format":8,"Command":{"Op":"fly"}}`), time.Second).Error())
	ctx := timeout(t, 10*time.Second)
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "format 8") {
			t.Errorf("%s: want ErrPermanent that names the format, got %v", what, err)
		}
	}
	refused("beat", s.Beat(ctx))
	_, err := s.TryAcquire(ctx, "r")
	refused("acquire", err)
	for _, err := range g.lockers[0].Watch(ctx, "r") {
		refused("watch", err)
		break
	}
	_, err = g.nodes[0].machine.Snapshot()
	refused("snapshot", err)
	refused("restore", newMachine().Restore(readCloser(`{"Format":8}`)))
}

// TestCloseLeavesNoCall closes a node in the midst of entries that are committed and
// not applied yet: the library answers nobody who waits for these.
func TestCloseLeavesNoCall(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, nil).start()
	g.leader()
	n := g.nodes[0]
	data, err := encode(ledger.Command{Op: ledger.Nothing})
	must(t, err)
	n.machine.mu.Lock() // nothing is applied
	for range 30 {
		before := n.raft.LastIndex()
		n.calls.Go(func() { _, _ = n.commit(data, patience) })
		eventually(t, "an entry of its own", func() bool { return n.raft.LastIndex() > before })
	}
	closed := make(chan struct{})
	go func() { defer close(closed); g.stop(0) }()
	eventually(t, "the shutdown", func() bool { return n.raft.State() == raft.Shutdown })
	n.machine.mu.Unlock()
	<-closed
	if !within(&n.calls, 5*time.Second) {
		t.Error("a call still waits for what a closed node will never say")
	}
}

func readCloser(data any) io.ReadCloser {
	return io.NopCloser(strings.NewReader(fmt.Sprintf("%s", data)))
}
