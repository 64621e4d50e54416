package raft

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// voting waits until each of the nodes sees these voters, and no other member.
func (g *group) voting(ids string, nodes ...*node) {
	g.t.Helper()
	eventually(g.t, "voters "+ids, func() bool {
		return !slices.ContainsFunc(nodes, func(n *node) bool {
			return strings.Join(n.voters(), "") != ids || len(n.members()) != len(ids)
		})
	})
}

// TestMemberComesBackOnItsDirectory: c is taken out while it does not run, and comes back with what it had. Whoever
// uses it is told, until it is let in while it runs: it is counted. Who asks it from outside gets an answer from another
// peer, or is told which one is a member.
func TestMemberComesBackOnItsDirectory(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	g.leader()
	g.stop(2)
	change := func(m MemberChange) error { return Change(timeout(t, 20*time.Second), g.configs[0], m) }
	must(t, change(MemberChange{Remove: "c"}))
	g.voting("ab", g.nodes[:2]...)
	g.start(2)
	const want = `node "c" was taken out of the group`
	told := func() bool {
		err := g.lockers[2].Raise(timeout(t, time.Second), 1000)
		return errors.Is(err, lock.ErrPermanent) && strings.Contains(err.Error(), want)
	}
	eventually(t, want, told)
	must(t, change(MemberChange{Add: g.configs[0].Peers[2]}))
	g.voting("abc", g.nodes...)
	g.raises(2, 2000)
	must(t, change(MemberChange{Remove: "c"})) // while it runs
	g.voting("ab", g.nodes[:2]...)
	eventually(t, want, told)
	outside := func(peers ...Peer) error {
		l, err := Dial(Config{Peers: peers})
		must(t, err)
		defer l.Close()
		for _, err := range l.Watch(timeout(t, 5*time.Second), "r") {
			return err
		}
		return errors.New("nothing was seen")
	}
	peers := g.configs[0].Peers
	for range 3 {
		must(t, outside(peers[2], peers[0]))
	}
	if err := outside(peers[2]); err == nil || errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "it was taken out of the group; name a member in the list of peers, such as ") {
		t.Errorf("got %v", err)
	}
}

// TestMemberIsReplaced: d, which knows one peer only, takes the place of c, which is dead, over
// mutual TLS and by an operator's word. c does not come back by itself.
func TestMemberIsReplaced(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	g := newGroup(t, 3, func(c *Config) { ca.give(c, c.ID) }).start()
	g.leader()
	g.stop(2)
	operator := Config{Peers: g.configs[0].Peers[:1]}
	ca.sign("alice", &x509.Certificate{URIs: []*url.URL{certs.OperatorURI("alice")}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}})
	operator.CAFile, operator.CertFile, operator.KeyFile = ca.file("ca.pem"), ca.file("alice.pem"), ca.file("alice.key")
	stranger := operator
	ca.give(&stranger, "stranger")
	d := Peer{"d", freeAddress(t)}
	if err := Change(timeout(t, 20*time.Second), stranger, MemberChange{Add: d}); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), `yours names "stranger"`) {
		t.Errorf("by a stranger: %v", err)
	}

	var said lab.Said
	config := g.configs[0]
	config.ID, config.Dir, config.Peers, config.Logger = "d", filepath.Join(t.TempDir(), "d"), []Peer{d, g.configs[0].Peers[0]}, slog.New(slog.NewTextHandler(&said, nil))
	ca.give(&config, "d")
	opened := make(chan *node, 1)
	go func() {
		n, err := open(timeout(t, time.Minute), config)
		if err != nil {
			t.Error(err)
		}
		opened <- n
	}()
	for range 2 { // it may be repeated
		must(t, Change(timeout(t, 20*time.Second), operator, MemberChange{Add: d}))
	}
	n := <-opened
	if n == nil {
		return
	}
	defer func() { must(t, n.Close()) }()
	g.voting("abcd", g.nodes[0], g.nodes[1], n)
	for range 2 {
		must(t, Change(timeout(t, 20*time.Second), operator, MemberChange{Remove: "c"}))
	}
	g.voting("abd", g.nodes[0], g.nodes[1], n)
	if text := said.String(); strings.Contains(text, "voters survive no") || strings.Contains(text, "set up differently") {
		t.Errorf("d, whose list has two peers, says of a group of three: %s", said.String())
	}
	g.start(2) // on its directory
	eventually(t, "word of what to do", func() bool {
		_, err := g.nodes[2].join(timeout(t, 5*time.Second), "add")
		return err != nil && strings.Contains(err.Error(), `"c" is not a member of the group: let it in by understudy raft member add c=`)
	})
	g.stop(0) // which d knows by its list
	eventually(t, "a raised floor", func() bool { return g.lockers[1].Raise(timeout(t, 5*time.Second), 1000) == nil })
	g.voting("abd", g.nodes[1], n)
}

// refused expects a change to be refused for good, with these words.
func (g *group) refused(m MemberChange, says string) {
	g.t.Helper()
	if err := Change(timeout(g.t, 20*time.Second), g.configs[0], m); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), says) {
		g.t.Errorf("%+v: want %q, got %v", m, says, err)
	}
}

// TestRemovalKeepsTheQuorum: it is refused with the numbers where the voters that are left would
// be no majority, and the leader can be taken out.
func TestRemovalKeepsTheQuorum(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	leader, follower := g.leader()
	third := 3 - leader - follower
	ids := []string{"a", "b", "c"}
	g.stop(third)
	change := func(m MemberChange) error { return Change(timeout(t, 20*time.Second), g.configs[0], m) }
	g.refused(MemberChange{Remove: ids[follower]}, "of which 2 must live, and 1 answer")
	g.refused(MemberChange{Add: Peer{ids[follower], "127.0.0.1:1"}}, "is a member already, at "+g.configs[follower].Peers[follower].Address)
	g.refused(MemberChange{Add: Peer{"d", g.configs[0].Peers[0].Address}}, `is that of the member "a"`)
	if err := change(MemberChange{Add: Peer{"d", "10.1.2.3:7001"}}); err == nil || !strings.Contains(err.Error(), "is not loopback") {
		t.Errorf("got %v", err)
	}
	g.refused(MemberChange{}, "ID")
	must(t, change(MemberChange{Remove: ids[third]}))
	left := []string{ids[leader], ids[follower]}
	slices.Sort(left)
	g.voting(strings.Join(left, ""), g.nodes[leader], g.nodes[follower])
	must(t, change(MemberChange{Remove: ids[leader]}))
	g.voting(ids[follower], g.nodes[follower])
	g.refused(MemberChange{Remove: ids[follower]}, "stays")
}

// TestLearnerIsNotCounted until it runs and has caught up: a group of one goes on by itself beside one
// that was let in and never came.
func TestLearnerIsNotCounted(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, nil).start()
	g.leader()
	must(t, Change(timeout(t, 20*time.Second), g.configs[0], MemberChange{Add: Peer{"d", freeAddress(t)}}))
	must(t, g.lockers[0].Raise(timeout(t, 20*time.Second), 1000))
	if v := g.nodes[0].voters(); len(v) != 1 || len(g.nodes[0].members()) != 2 {
		t.Errorf("voters %v, members %v", v, g.nodes[0].members())
	}
	must(t, Change(timeout(t, 20*time.Second), g.configs[0], MemberChange{Remove: "d"}))
	g.voting("a", g.nodes[0])
}
