package raft

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// size is how many bytes a directory has on disk.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // a snapshot was removed meanwhile
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	}))
	return n
}

// logBytes is how many bytes the log of node i has.
func (g *group) logBytes(i int) int {
	c := g.nodes[i].dir.bolt
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// TestLogIsCutByBytes, long before it has as many entries as are kept; and who was away gets
// a snapshot instead of what was cut off.
func TestLogIsCutByBytes(t *testing.T) {
	const most = maxLog / 8 // less to encode for the race detector
	g := newGroup(t, 3, func(c *Config) { c.snapshots.bytes = most }).start()
	token := acquire(t, register(t, g.lockers[0], "a"))
	value := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 87_500) }
	const writes = 60
	for i := range writes {
		if i == writes/2 {
			g.stop(2)
		}
		_, err := writeValue(t, g.lockers[0], token, "k", value(i))
		must(t, err)
	}
	g.start(2)
	want := value(writes - 1)
	for i := range g.nodes {
		if readValue(t, g.lockers[i], "k") != want {
			t.Errorf("node %d reads another value", i)
		}
		eventually(t, "the log's cut", func() bool { return g.logBytes(i) <= most })
		if n := size(t, g.configs[i].Dir); n > 6<<20 { // freed pages stay in the file; all entries have 7 MB
			t.Errorf("node %d keeps %d kB", i, n>>10)
		}
	}
	eventually(t, "node 2's own ledger", func() bool {
		n := g.nodes[2]
		n.machine.mu.Lock()
		defer n.machine.mu.Unlock()
		return string(n.machine.ledger.Values["k"]) == want
	})
	before := g.logBytes(1)
	g.stop(1)
	g.start(1)
	if after := g.logBytes(1); after < before/2 || after > before+1<<17 {
		t.Errorf("after a restart the log counts as %d bytes, before it had %d", after, before)
	}
}

// TestRefusedWritesAreNotKept whole, whoever sends them.
func TestRefusedWritesAreNotKept(t *testing.T) {
	g := newGroup(t, 3, nil).start()
	leader, follower := g.leader()
	s := register(t, g.lockers[leader], "a")
	token := acquire(t, s)
	_, err := writeValue(t, g.lockers[leader], token, "k", strings.Repeat("x", 900_000))
	must(t, err)
	before := g.logBytes(leader)
	refused := func(i int, token lock.Token, want error, says string) {
		t.Helper()
		var err error
		eventually(t, "an answer", func() bool {
			_, err = g.lockers[i].(lock.Values).Write(timeout(t, 10*time.Second), "r", token, map[string][]byte{"other": make([]byte, 900_000)}, nil)
			return lock.OutcomeOf(err) != lock.Unknown
		})
		if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
			t.Errorf("want %v with %q, got %v", want, says, err)
		}
	}
	for _, i := range []int{leader, follower} {
		for range 5 {
			refused(i, token, lock.ErrPermanent, "values: 1800006 bytes would be kept in all, the limit is 1048576, and 900001 are kept now")
			refused(i, token-1, lock.ErrMoved, "")
		}
	}
	// From a program that does not check what it sends.
	r, err := g.nodes[follower].caller.propose(timeout(t, 5*time.Second), g.configs[leader].Peers[leader], pathPropose,
		ledger.Command{Op: ledger.Write, Role: "r", Token: token, Values: map[string][]byte{"other": make([]byte, 1_100_000)}})
	if err := errors.Join(err, r.Err()); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "values: 1100005 bytes in one write, the limit is 1048576") {
		t.Error(err)
	}
	if after := g.logBytes(leader); after > before+100_000 {
		t.Errorf("the log grew from %d to %d bytes", before, after)
	}
	_, err = writeValue(t, g.lockers[follower], token, "k", "small")
	must(t, err)
	_, err = writeValue(t, g.lockers[follower], token, "other", strings.Repeat("x", 900_000)) // there is room now
	must(t, err)
}

// TestSnapshotsAreTheOwnersAlone, those of earlier programs too, and what was cut short is
// removed.
func TestSnapshotsAreTheOwnersAlone(t *testing.T) {
	g := newGroup(t, 1, func(c *Config) { c.snapshots = snapshots{threshold: 16, trailing: 4, interval: 10 * time.Millisecond} }).start()
	grow := func() {
		from := g.nodes[0].dir.read().Kept
		eventually(t, "a snapshot", func() bool {
			_ = g.lockers[0].Raise(timeout(t, 5*time.Second), 1)
			return g.nodes[0].dir.read().Kept > from
		})
	}
	check := func() {
		t.Helper()
		g.stop(0)
		must(t, filepath.WalkDir(g.configs[0].Dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 && path != g.configs[0].Dir {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return err
		}))
	}
	grow()
	check()
	folder := filepath.Join(g.configs[0].Dir, snapFolder)
	must(t, os.Mkdir(filepath.Join(folder, "1-2-3.tmp"), 0o755))
	must(t, os.WriteFile(filepath.Join(folder, "1-2-3.tmp", "state.bin"), nil, 0o644))
	must(t, filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			err = os.Chmod(path, 0o644)
		}
		return err
	}))
	g.start(0)
	check()
	if left, err := filepath.Glob(filepath.Join(folder, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
