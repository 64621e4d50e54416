package raft

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// TestMemberMoves to another address while the group works, over mutual TLS and by one list that has
// it. The others keep theirs, also when they start again, and the one that moved counts.
func TestMemberMoves(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	g := newGroup(t, 3, func(c *Config) { ca.give(c, c.ID) }).start()
	g.leader()
	g.stop(2)
	to := Peer{"c", freeAddress(t)}
	g.configs[2].Peers = slices.Concat(g.configs[2].Peers[:2], []Peer{to})
	change := func(m MemberChange) error { return Change(timeout(t, 20*time.Second), g.configs[0], m) }
	g.start(2)
	for range 2 { // it may be repeated
		must(t, change(MemberChange{Move: to}))
	}
	g.stop(1)
	raised := func(l lock.Locker, to lock.Token) {
		t.Helper()
		eventually(t, "a raised floor", func() bool { return l.Raise(timeout(t, 5*time.Second), to) == nil })
	}
	raised(g.lockers[0], 1000) // c is half of the majority
	g.start(1)
	g.stop(0)
	raised(g.lockers[1], 2000) // with a list that has the old address
	g.start(0)
	g.voting("abc", g.nodes...)
	if group, err := Inspect(timeout(t, 20*time.Second), g.configs[0]); err != nil || len(group.Silent) > 0 { // its list has the old address
		t.Errorf("%v, silent are %q", err, group.Silent)
	}
	g.stop(1)
	raised(g.lockers[0], 3000)

	g.refused(MemberChange{Move: Peer{"c", freeAddress(t)}}, "2 must live")
	g.refused(MemberChange{Move: Peer{"c", g.configs[0].Peers[0].Address}}, `is that of the member "a"`)
	g.refused(MemberChange{Move: Peer{"x", freeAddress(t)}}, `"x" is not a member`)
	if g.voting("abc", g.nodes[0]); g.nodes[0].peer("c") != to {
		t.Errorf("c is at %s", g.nodes[0].peer("c"))
	}
}

// TestHandOverToWhoWorks: a voter that fails gets no leadership, be it the only one that answers.
func TestHandOverToWhoWorks(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	leader, failing := g.leader()
	third := 3 - leader - failing
	g.stop(third)
	g.nodes[failing].machine.refuse(errors.New("its disk is full"))
	if err := g.nodes[leader].handOver(timeout(t, 20*time.Second)); err == nil || !strings.Contains(err.Error(), "no other voter answers that can be relied on") {
		t.Errorf("it hands over: %v", err)
	}
	g.start(third)
	eventually(t, "the one that works", func() bool {
		err := g.nodes[leader].handOver(timeout(t, 20*time.Second))
		return strings.Contains(err.Error(), fmt.Sprintf("hands that over to %q", g.configs[third].ID))
	})
}

// TestObserver follows the group and is not counted, until an operator promotes it.
func TestObserver(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	g.leader()
	d := Peer{"d", freeAddress(t)}
	change := func(m MemberChange) error { return Change(timeout(t, 20*time.Second), g.configs[0], m) }
	g.refused(MemberChange{Promote: "d"}, `"d" is not a member`)
	must(t, change(MemberChange{Add: d}))
	if err := Change(timeout(t, time.Second), g.configs[0], MemberChange{Promote: "d"}); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), `"d" is not counted yet, as it does not answer at `) {
		t.Errorf("of one that does not run: %v", err)
	}
	config := g.configs[0]
	config.ID, config.Dir, config.Peers, config.Observer = "d", filepath.Join(t.TempDir(), "d"), []Peer{d, config.Peers[0]}, true
	n, err := open(timeout(t, time.Minute), config)
	must(t, err)
	defer func() { must(t, n.Close()) }()
	must(t, g.lockers[1].Raise(timeout(t, 20*time.Second), 1000))
	standing(t, ledger.NewLocker(n), func(st lock.Standing) bool { return st.Floor >= 1000 })
	if v := strings.Join(n.voters(), ""); v != "abc" || len(n.members()) != 4 {
		t.Errorf("voters %s, members %v", v, n.members())
	}
	for range 2 {
		must(t, change(MemberChange{Promote: "d"}))
	}
	g.voting("abcd", append(slices.Clone(g.nodes), n)...)
}

// TestPromotedWhileItBegins promotes observers that have only just been started: who is said to be counted is. A call
// by which one joined, and which comes late, takes no vote back.
func TestPromotedWhileItBegins(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	g.leader()
	change := func(m MemberChange) error { return Change(timeout(t, 20*time.Second), g.configs[0], m) }
	nodes := slices.Clone(g.nodes)
	all := "abc"
	for _, id := range []string{"d", "e", "f", "g"} {
		p := Peer{id, freeAddress(t)}
		must(t, change(MemberChange{Add: p}))
		promoted := make(chan error, 1)
		go func() { promoted <- change(MemberChange{Promote: id}) }()
		config := g.configs[0]
		config.ID, config.Dir, config.Peers, config.Observer = id, filepath.Join(t.TempDir(), id), []Peer{p, config.Peers[0]}, true
		n, err := open(timeout(t, time.Minute), config)
		must(t, err)
		defer func() { must(t, n.Close()) }()
		must(t, <-promoted)
		nodes, all = append(nodes, n), all+id
		_, err = n.join(timeout(t, 20*time.Second), "remove")
		must(t, err)
		g.voting(all, nodes...)
	}
}

// TestObserverBeginsNoGroup: it would be one of its voters.
func TestObserverBeginsNoGroup(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, func(c *Config) { c.Observer = true })
	if _, err := open(timeout(t, 5*time.Second), g.configs[0]); err == nil || !strings.Contains(err.Error(), "an observer begins no group") {
		t.Errorf("got %v", err)
	}
}
