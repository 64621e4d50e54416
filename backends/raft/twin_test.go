package raft

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// copied returns the configuration of a process on a copy of node i's directory, that
// listens elsewhere.
func (g *group) copied(i int) Config {
	g.t.Helper()
	c := g.configs[i]
	c.Dir, c.Bind = filepath.Join(g.t.TempDir(), "copy"), "127.0.0.1:0"
	copyLiving(g.t, g.nodes[i], c.Dir)
	return c
}

// freeAddress is one at which nobody listens.
func freeAddress(t *testing.T) string {
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
		n, err := open(timeout(t, 10*time.Second), c)
		if err == nil {
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
	if !strings.Contains(said.String(), "another process runs with this node's ID") {
		t.Error("the node says nothing of the copy")
	}
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

// TestOlderDirectoryIsRefused, all parts of which were put back, by a peer that knows of more.
func TestOlderDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	dir := g.configs[0].Dir
	g.stop(0)
	older := filepath.Join(t.TempDir(), "older")
	must(t, os.CopyFS(older, os.DirFS(dir)))
	g.start(0)
	g.raises(0, 1000)
	_, err := g.nodes[1].greetOne(timeout(t, 5*time.Second), g.configs[1].peer("a")) // as it does every minute
	must(t, err)
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
