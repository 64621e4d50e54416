package raft

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// copied returns the configuration of a process on a copy of node i's directory, that
// listens elsewhere.
func (g *group) copied(i int) Config {
	g.t.Helper()
	c := g.configs[i]
	c.Dir, c.Bind = filepath.Join(g.t.TempDir(), "copy"), freeAddress(g.t)
	copyLiving(g.t, g.nodes[i], c.Dir)
	return c
}

// freeAddress is one at which nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	free, err := servers.Addresses(1)
	must(t, err)
	return free[0]
}

// raises shows that the group goes on, and that node i takes part in it.
func (g *group) raises(i int, floor lock.Token) {
	g.t.Helper()
	eventually(g.t, "a raised floor", func() bool { return g.lockers[i].Raise(timeout(g.t, 5*time.Second), floor) == nil })
	must(g.t, g.nodes[i].machine.err())
}

// TestCopyOfALivingNodeIsRefused at its start, while the node answers: it asks at the
// node's address itself, or its peers do.
func TestCopyOfALivingNodeIsRefused(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	var said lab.Said
	g.configs[0].Logger = slog.New(slog.NewTextHandler(&said, nil))
	g.start()
	g.raises(0, 1000)
	refused := func(c Config) {
		t.Helper()
		n, err := open(timeout(t, time.Minute), c)
		if err == nil { // the others were too slow; it has no vote until they have answered
			eventually(t, "the copy's end", func() bool { err = n.machine.err(); return err != nil })
			must(t, n.Close())
		}
		for _, want := range []string{"another process runs as node", c.Dir} {
			if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), want) {
				t.Errorf("want ErrPermanent with %q, got %v", want, err)
			}
		}
	}
	c := g.copied(0)
	refused(c)
	c.Peers = append([]Peer{{c.ID, freeAddress(t)}}, c.Peers[1:]...) // it finds itself at the address in its own list
	c.Bind = ""
	refused(c)
	g.raises(0, 2000)
	eventually(t, "the node's word of the copy", func() bool { return said.Has("another process runs with this node's ID") })
}

// silent takes connections at the address of node i, which does not run, and says nothing: as a
// process that is stopped, or on a machine that is too busy.
func (g *group) silent(i int) net.Listener {
	g.t.Helper()
	l, err := net.Listen("tcp", g.configs[i].Peers[i].Address)
	must(g.t, err)
	g.t.Cleanup(func() { _ = l.Close() }) // it may be closed already
	return l
}

// TestCopyOfASlowNodeGetsNoVote: whoever takes connections at the node's address and does not answer
// may be the node. A copy that asks there itself does not start, and another one is given no vote
// until nobody is there any more.
func TestCopyOfASlowNodeGetsNoVote(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	g.raises(0, 1000)
	c := g.copied(0)
	g.stop(0)
	slow := g.silent(0)
	if n, err := open(timeout(t, 3*time.Second), c); err == nil || !strings.Contains(err.Error(), "does not answer: end it") || !strings.Contains(err.Error(), c.Dir) {
		t.Errorf("want an error with the directory, got %v", err)
		must(t, n.Close())
	}
	c.Peers = append([]Peer{{c.ID, freeAddress(t)}}, c.Peers[1:]...)
	c.Bind = ""
	n, err := open(timeout(t, 20*time.Second), c)
	must(t, err)
	defer func() { must(t, n.Close()) }()
	vote := func() error {
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("a"), Addr: []byte(c.Peers[0].Address)}
		return errors.Join(
			n.transport.RequestPreVote("b", raft.ServerAddress(c.Peers[1].Address), &raft.RequestPreVoteRequest{RPCHeader: header}, &raft.RequestPreVoteResponse{}),
			n.transport.RequestVote("b", raft.ServerAddress(c.Peers[1].Address), &raft.RequestVoteRequest{RPCHeader: header}, &raft.RequestVoteResponse{}))
	}
	for range 3 {
		if err := vote(); err == nil || strings.Count(err.Error(), "has not found out yet whether another process runs as node") != 2 {
			t.Errorf("the copy asks for a vote: %v", err)
		}
	}
	must(t, slow.Close())
	eventually(t, "a vote", func() bool { return vote() == nil })
}

// TestCopyStopsWhenTheNodeComesBack: a copy that was started while the node was silent ends
// its part in the group, and the node does not.
func TestCopyStopsWhenTheNodeComesBack(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	g.raises(0, 1000)
	c := g.copied(0)
	g.stop(0)
	twin, err := open(timeout(t, 10*time.Second), c)
	must(t, err)
	defer func() { must(t, twin.Close()) }()
	g.start(0)
	eventually(t, "the copy's end", func() bool { return twin.machine.err() != nil })
	if err := twin.machine.err(); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), c.Dir) {
		t.Errorf("want ErrPermanent with the directory, got %v", err)
	}
	must(t, twin.halt().Error())
	g.raises(0, 2000)
	g.stop(2) // it counts: with one of the others it is a majority
	g.raises(0, 3000)
}

// outdated is a copy of the directory of node 0, which has been written since, as node 1 has heard.
func (g *group) outdated() string {
	g.t.Helper()
	g.stop(0)
	older := filepath.Join(g.t.TempDir(), "older")
	must(g.t, os.CopyFS(older, os.DirFS(g.configs[0].Dir)))
	g.start(0)
	g.raises(0, 1000)
	_, err := g.nodes[1].greetOne(timeout(g.t, 5*time.Second), g.configs[1].peer("a")) // as it does every minute
	must(g.t, err)
	return older
}

// TestOlderDirectoryIsRefused, all parts of which were put back, by a peer that knows of more.
func TestOlderDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	dir, older := g.configs[0].Dir, g.outdated()
	g.stop(0)
	now := filepath.Join(t.TempDir(), "now")
	must(t, os.Rename(dir, now))
	must(t, os.CopyFS(dir, os.DirFS(older)))
	n, err := open(timeout(t, 10*time.Second), g.configs[0])
	if err == nil {
		must(t, n.Close())
	}
	if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "older than it was") {
		t.Errorf("want ErrPermanent with the directory, got %v", err)
	}
	must(t, os.RemoveAll(dir)) // either cure
	must(t, os.Rename(now, dir))
	g.start(0)
	g.raises(0, 2000)
	g.stop(0)
	must(t, os.RemoveAll(dir))
	g.start(0)
	g.raises(0, 3000)
}

// TestReplacedDirectoryIsRefused: a node whose disk was away ran on a new directory, and then its disk is there again, also
// where the group was stopped meanwhile.
func TestReplacedDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{false, true} {
		g := newGroup(t, 3, nil).start()
		dir, aside := g.configs[0].Dir, filepath.Join(t.TempDir(), "aside")
		hears := func() {
			_, err := g.nodes[1].greetOne(timeout(t, 5*time.Second), g.configs[1].peer("a")) // as it does every minute
			must(t, errors.Join(err, g.nodes[1].keepHeard()))
		}
		hears()
		g.stop(0)
		must(t, os.Rename(dir, aside))
		g.start(0)
		g.raises(0, 1000)
		hears()
		g.stop(0)
		if all {
			g.stop(1)
			g.stop(2)
		}
		must(t, os.RemoveAll(dir))
		must(t, os.Rename(aside, dir))
		if all {
			var err error
			g.nodes[1], err = open(timeout(t, 10*time.Second), g.configs[1])
			must(t, err)
			g.lockers[1] = ledger.NewLocker(g.nodes[1])
		}
		n, err := open(timeout(t, 10*time.Second), g.configs[0])
		if err == nil {
			must(t, n.Close())
		}
		if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), `node "a" has run on another directory since, as peer "b" knows`) {
			t.Errorf("all were stopped: %v: want ErrPermanent with the reason, got %v", all, err)
		}
		if all {
			g.start(2)
		}
		must(t, os.RemoveAll(dir)) // the cure
		g.start(0)
		g.raises(0, 2000)
	}
}

// TestOlderDirectoryIsRefusedAfterARestart: a whole group was stopped, and an older directory is put in the place
// of a node's. A peer that had heard of a later one has not forgotten it.
func TestOlderDirectoryIsRefusedAfterARestart(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	dir, older := g.configs[0].Dir, g.outdated()
	g.nodes[1].mu.Lock()
	name := g.nodes[0].dir.read().Directory
	writes := g.nodes[1].known.Writes[name]
	g.nodes[1].mu.Unlock()
	eventually(t, "that it is durable", func() bool {
		data, err := g.nodes[1].dir.bolt.Get(heardKey)
		kept, broken := heardOf(data)
		return err == nil && broken == nil && kept.Writes[name] >= writes
	})
	for i := range g.nodes {
		g.stop(i)
	}
	must(t, os.RemoveAll(dir))
	must(t, os.CopyFS(dir, os.DirFS(older)))
	var err error
	g.nodes[1], err = open(timeout(t, 10*time.Second), g.configs[1])
	must(t, err)
	n, err := open(timeout(t, 10*time.Second), g.configs[0])
	if err == nil {
		must(t, n.Close())
	}
	if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "older than it was") {
		t.Errorf("want ErrPermanent with the directory, got %v", err)
	}
}
