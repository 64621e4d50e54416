package raft

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// lastFloor is what a grown directory acknowledged last.
const lastFloor = 20_000

// grownDirectory is the directory of a node that is down, with two snapshots and a log
// without a beginning; the same before its last start; in the midst of that; and as a
// program would have left it that wrote neither marker nor record.
func grownDirectory(t *testing.T, id string) (now, before, running, legacy string) {
	t.Helper()
	g := newGroup(t, 1, func(c *Config) {
		c.ID, c.Peers[0].ID = id, id
		c.snapshots = snapshots{threshold: 16, trailing: 4, interval: 10 * time.Millisecond}
	})
	floor := lock.Token(0)
	dir := g.configs[0].Dir
	before, running, legacy = filepath.Join(t.TempDir(), "before"), filepath.Join(t.TempDir(), "running"), filepath.Join(t.TempDir(), "legacy")
	grow := func(half func()) {
		g.start()
		s := register(t, g.lockers[0], "a")
		for range 2 {
			from := g.nodes[0].dir.read().Kept
			eventually(t, "two more snapshots", func() bool {
				_ = s.Beat(timeout(t, 5*time.Second))
				return g.nodes[0].dir.read().Kept > from+40
			})
			half()
			half = func() {}
		}
		must(t, s.Close(timeout(t, 5*time.Second)))
		floor += lastFloor / 2
		must(t, g.lockers[0].Raise(timeout(t, 5*time.Second), floor)) // the last that it acknowledges
		g.stop(0)
	}
	grow(func() {})
	must(t, os.CopyFS(before, os.DirFS(dir)))
	grow(func() { copyLiving(t, g.nodes[0], running) })
	must(t, os.CopyFS(legacy, os.DirFS(dir)))
	must(t, os.Remove(filepath.Join(legacy, "node.json")))
	keep(recordKey, nil)(t, legacy)
	return dir, before, running, legacy
}
