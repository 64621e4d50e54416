package raft

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestDeadVoterIsTakenOut by the leader, once it has been silent for so long, and no other: where the
// rest would be no majority it stays.
func TestDeadVoterIsTakenOut(t *testing.T) {
	t.Parallel()
	var said lab.Said
	g := newGroup(t, 4, func(c *Config) {
		c.Timing, c.DeadAfter = 100*time.Millisecond, 10*time.Second
		c.Logger = slog.New(slog.NewTextHandler(&said, nil))
	}).start()
	g.leader()
	g.stop(3)
	eventually(t, "word of the silence", func() bool {
		s, err := Status(timeout(t, 5*time.Second), g.configs[0])
		return err == nil && slices.ContainsFunc(s.Members, func(m MemberStatus) bool {
			return m.Node != nil && m.Node.SilentFor["d"] > 0 && m.Node.DeadAfter == 10*time.Second
		})
	})
	g.voting("abc", g.nodes[:3]...)
	eventually(t, "a line about it", func() bool { // written once the change is committed
		return said.Has("a voter that was silent for too long is taken out")
	})
	g.stop(2)
	g.voting("ab", g.nodes[:2]...)
	g.stop(1) // a alone is not a majority of two, so it does not lead
	before := g.nodes[0].voters()
	time.Sleep(12 * time.Second) // longer than DeadAfter: nobody tells that nothing happens
	if now := g.nodes[0].voters(); !slices.Equal(now, before) {
		t.Errorf("voters %v", now)
	}
}

// TestSilenceOutlastsAnElection: another leader goes on with the count where it is, as every node counts.
func TestSilenceOutlastsAnElection(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 4, func(c *Config) { c.DeadAfter = 40 * time.Second }).start() // it asks every 2s
	silence := func(i int) time.Duration {
		if all := g.nodes[i].silent.Load(); all != nil {
			return (*all)["d"]
		}
		return 0
	}
	g.stop(3)
	eventually(t, "a count on the leader", func() bool {
		leader, _ := g.leader()
		return silence(leader) > 12*time.Second
	})
	old, _ := g.leader()
	eventually(t, "another leader", func() bool {
		_ = g.nodes[old].handOver(timeout(t, 20*time.Second)) // it says so, and that it is to be asked again
		return !g.nodes[old].leading()
	})
	var now time.Duration
	eventually(t, "its count", func() bool {
		leader, _ := g.leader()
		now = silence(leader)
		return leader != old && now > 0
	})
	if now < 5*time.Second {
		t.Errorf("the new leader begins anew: %v", now)
	}
}

// TestDeadAfterHasALimit, which the error names.
func TestDeadAfterHasALimit(t *testing.T) {
	t.Parallel()
	c := Config{ID: "a", Dir: "x", Peers: []Peer{{"a", "127.0.0.1:1"}}, Timing: time.Second, DeadAfter: time.Minute}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "must be at least 1m40s") {
		t.Errorf("got %v", err)
	}
}
