package raft

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
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

// TestWitnessGoesPastTheSilent: a peer that takes connections and says nothing, as one that is stopped, does not keep a witness
// from ending a session, whichever peer it would have asked first.
func TestWitnessGoesPastTheSilent(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	g.leader()
	session := register(t, g.lockers[0], "dead")
	g.stop(1)
	silent, err := net.Listen("tcp", g.configs[1].Peers[1].Address)
	must(t, err)
	defer silent.Close()
	g.leader()
	for range 4 {
		l, err := Dial(g.configs[0])
		must(t, err)
		witness := l.(outsider)
		witness.client.next.Store(uint64(slices.IndexFunc(witness.client.list(), func(p Peer) bool { return p.ID == "b" })))
		must(t, witness.Elect(timeout(t, 20*time.Second), "nobody"))
		must(t, witness.Evict(timeout(t, attempt), session.ID(), lock.AnyBeat, lock.End{By: "a test"}))
		must(t, l.Close())
	}
	l, err := Dial(g.configs[0])
	must(t, err)
	l.(outsider).client.next.Store(uint64(slices.IndexFunc(l.(outsider).client.list(), func(p Peer) bool { return p.ID == "b" })))
	must(t, l.Evict(timeout(t, 2*attempt), session.ID(), lock.AnyBeat, lock.End{By: "a test"})) // where nobody is elected
	must(t, l.Close())
}
