package raft

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWitnessFindsWhoIsLeft: all the peers of the list with which a witness was started are elsewhere when it is needed.
func TestWitnessFindsWhoIsLeft(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	g := newGroup(t, 3, func(c *Config) { ca.give(c, c.ID) }).start()
	g.leader()
	of := g.configs[0]
	of.Peers = slices.Clone(of.Peers)
	witness, err := Dial(of)
	must(t, err)
	defer func() { must(t, witness.Close()) }()
	must(t, witness.Raise(timeout(t, 20*time.Second), 1000))
	for _, i := range []int{1, 2} {
		to := Peer{g.configs[i].ID, freeAddress(t)}
		g.stop(i)
		g.configs[i].Peers = slices.Clone(g.configs[i].Peers)
		g.configs[i].Peers[i] = to
		g.start(i)
		must(t, Change(timeout(t, 20*time.Second), of, MemberChange{Move: to}))
		eventually(t, "a keeps where it is", func() bool {
			text, err := os.ReadFile(filepath.Join(of.Dir, membersFile))
			return err == nil && strings.Contains(string(text), to.Address)
		})
	}
	g.stop(0)
	must(t, witness.Raise(timeout(t, 20*time.Second), 2000))
	late, err := Dial(of) // as one that was replaced
	must(t, err)
	defer func() { must(t, late.Close()) }()
	must(t, late.Raise(timeout(t, 20*time.Second), 3000))
	must(t, os.WriteFile(filepath.Join(of.Dir, membersFile), []byte(`[{"ID":"b"`), 0o600))
	list, err := Dial(of) // which goes by the list, and waits for nobody
	must(t, err)
	must(t, list.Close())
}
