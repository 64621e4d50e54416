package raft

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// openAll opens nodes side by side, for a while, and returns what each came to. Those that
// are named give up first.
func (g *group) openAll(d time.Duration, first ...int) []error {
	errs := make([]error, len(g.configs))
	var all sync.WaitGroup
	for i := range g.configs {
		d := d
		if slices.Contains(first, i) {
			d /= 2
		}
		all.Go(func() { g.nodes[i], errs[i] = open(timeout(g.t, d), g.configs[i]) })
	}
	all.Wait()
	for i := range g.nodes {
		if errs[i] != nil {
			g.nodes[i] = nil
		}
	}
	return errs
}

// TestNobodyBeginsWithAnotherList: a group begins when everyone on the list of a node has
// answered with the same list; an error shows both.
func TestNobodyBeginsWithAnotherList(t *testing.T) {
	t.Parallel()
	list := func(g *group, i int, ids string) {
		var peers []Peer
		for _, id := range strings.Split(ids, ",") {
			peers = append(peers, g.configs[id[0]-'a'].peer(id))
		}
		g.configs[i].Peers = peers
	}
	shows := func(t *testing.T, g *group, i, other int, err error) {
		t.Helper()
		for _, want := range []string{formatPeers(g.configs[i].Peers), formatPeers(g.configs[other].Peers)} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want an error of %s that shows %s, got %v", g.configs[i].ID, want, err)
			}
		}
	}
	t.Run("one of them lists itself only", func(t *testing.T) {
		g := newGroup(t, 3, nil)
		list(g, 0, "a")
		errs := g.openAll(2 * time.Second)
		must(t, errs[0])
		shows(t, g, 1, 0, errs[1])
		shows(t, g, 2, 0, errs[2])
	})
	t.Run("one of them is in two lists", func(t *testing.T) {
		g := newGroup(t, 5, nil)
		for i, ids := range []string{"a,b,c", "a,b,c", "c,d,e", "c,d,e", "c,d,e"} {
			list(g, i, ids)
		}
		errs := g.openAll(2 * time.Second)
		shows(t, g, 0, 2, errs[0])
		shows(t, g, 1, 2, errs[1])
		must(t, errors.Join(errs[2:]...))
	})
	t.Run("nobody agrees", func(t *testing.T) {
		g := newGroup(t, 3, nil)
		for i, ids := range []string{"a,b", "b,c", "a,c"} {
			list(g, i, ids)
		}
		for i, other := range []int{1, 2, 0} { // the others still answer when it gives up
			errs := g.openAll(2*time.Second, i)
			shows(t, g, i, other, errs[i])
		}
	})
}

// TestFounderThatWasWipedBeginsAgain: as long as nobody was elected, no vote can have been
// forgotten.
func TestFounderThatWasWipedBeginsAgain(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 2, nil)
	var all, begun sync.WaitGroup
	begun.Add(len(g.configs))
	for i := range g.configs { // each begins, and stops before Raft runs
		all.Go(func() {
			n := newNode(g.configs[i])
			err := n.prepare()
			if err == nil {
				err = n.found(timeout(t, 10*time.Second))
			}
			begun.Done()
			begun.Wait()
			if err := errors.Join(err, n.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	must(t, os.RemoveAll(g.configs[0].Dir))
	g.start()
	g.leader()
	if a, b := g.nodes[0].dir.group(), g.nodes[1].dir.group(); a != b || a == "" {
		t.Errorf("groups %q and %q", a, b)
	}
}

// TestAnotherGroupsDirectoryIsRefused, on both sides: its node ends with the reason, and
// the group goes on as it was.
func TestAnotherGroupsDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	g, other := newGroup(t, 3, nil).start(), newGroup(t, 3, nil).start()
	eventually(t, "a floor", func() bool { return g.lockers[1].Raise(timeout(t, 5*time.Second), 1000) == nil })
	eventually(t, "a floor", func() bool { return other.lockers[1].Raise(timeout(t, 5*time.Second), 5) == nil })
	other.stop(0)
	g.stop(0)
	var said lab.Said
	g.configs[1].Logger = slog.New(slog.NewTextHandler(&said, nil))
	g.stop(1)
	g.start(1)
	ours, theirs := g.nodes[1].dir.group(), other.nodes[1].dir.group()
	g.configs[0].Dir = other.configs[0].Dir
	g.start(0)
	var err error
	eventually(t, "an end", func() bool { err = g.nodes[0].machine.err(); return err != nil })
	for _, want := range []string{ours, theirs, g.configs[0].Dir} {
		if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), want) {
			t.Errorf("want ErrPermanent with %s, got %v", want, err)
		}
	}
	eventually(t, "a line about the stranger", func() bool { return strings.Contains(said.String(), theirs) })
	eventually(t, "a raised floor", func() bool { return g.lockers[1].Raise(timeout(t, 5*time.Second), 2000) == nil })
	if v, _, _ := g.nodes[0].machine.view(); v.Revision != 0 && v.Identity == ours {
		t.Error("a node of another group follows this one's log")
	}
	l, err := Dial(Config{Peers: g.configs[1].Peers}) // asks the stranger first
	must(t, err)
	eventually(t, "a raised floor", func() bool { return l.Raise(timeout(t, 5*time.Second), 3000) == nil })
	must(t, l.Close())
	if r := g.nodes[0].dir.read(); r.Group != theirs {
		t.Errorf("the directory belongs to %s now", r.Group)
	}
}

// TestGroupWithoutAnIdentityAdoptsOne: directories of before there were identities go on,
// get one identity, and keep what they had; who was away gets the same.
func TestGroupWithoutAnIdentityAdoptsOne(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	for _, c := range g.configs {
		earlier(t, c, 12345)
	}
	g.start(0, 1)
	eventually(t, "an identity", func() bool { return g.nodes[0].dir.group() != "" && g.nodes[1].dir.group() != "" })
	g.start(2)
	eventually(t, "its group", func() bool { return g.nodes[2].dir.group() != "" })
	for _, n := range g.nodes {
		v, _, err := n.machine.view()
		must(t, err)
		if id := n.dir.group(); id != g.nodes[0].dir.group() || v.Identity != "" && v.Identity != id {
			t.Errorf("%s: group %s, ledger %s, %s has %s", n.config.ID, id, v.Identity, g.nodes[0].config.ID, g.nodes[0].dir.group())
		}
	}
	if token := acquire(t, register(t, g.lockers[2], "s")); token <= 12345 {
		t.Errorf("token %d", token)
	}
}

// earlier makes the directory of a node as a program left it that knew no identities.
func earlier(t *testing.T, c Config, floor lock.Token) {
	t.Helper()
	must(t, os.MkdirAll(c.Dir, 0o700))
	bolt, err := raftboltdb.NewBoltStore(filepath.Join(c.Dir, "raft.db"))
	must(t, err)
	must(t, bolt.Set(ownerKey, []byte(c.ID)))
	var servers []raft.Server
	for _, p := range c.Peers {
		servers = append(servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	must(t, bolt.SetUint64(termKey, 2))
	data, err := encode(ledger.Command{Op: ledger.Raise, Token: floor})
	must(t, err)
	must(t, bolt.StoreLogs([]*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(raft.Configuration{Servers: servers})},
		{Index: 2, Term: 2, Type: raft.LogCommand, Data: data},
	}))
	must(t, bolt.Close())
}

// TestTwinIsNotLetIn: while a node answers, another process with its ID and an empty
// directory does not take its place, and costs the group nothing.
func TestTwinIsNotLetIn(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	s := register(t, g.lockers[0], "s")
	token := acquire(t, s)
	before := g.nodes[0].raft.LastIndex()
	for _, address := range []string{freeAddress(t), "127.0.0.2:" + strings.TrimPrefix(g.configs[0].Peers[0].Address, "127.0.0.1:")} {
		c := g.configs[0]
		c.Dir, c.Bind = filepath.Join(t.TempDir(), "twin"), address
		_, err := open(timeout(t, time.Minute), c) // it does not wait for the other's end
		if !errors.Is(err, lock.ErrPermanent) || !errors.Is(err, ErrTwin) || !strings.Contains(err.Error(), "another process runs as node") {
			t.Errorf("want an error about the other process, got %v", err)
		}
	}
	if members := g.nodes[0].voters(); len(members) != 3 {
		t.Errorf("the group is %v", members)
	}
	if after := g.nodes[0].raft.LastIndex(); after > before+20 {
		t.Errorf("%d entries", after-before)
	}
	standing(t, g.lockers[1], holds(token))
}

// TestListThatDiffersFromTheGroup is reported, with the quorum that counts.
func TestListThatDiffersFromTheGroup(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 4, nil)
	all := g.configs[0].Peers
	var said lab.Said
	for i := range g.configs {
		g.configs[i].Peers = all[:3]
		g.configs[i].Logger = slog.New(slog.NewTextHandler(&said, nil))
	}
	g.start(0, 1, 2)
	g.leader()
	g.stop(2)
	changed := []Peer{all[0], all[1], all[3]} // c is replaced by d
	for i := range g.configs {
		g.configs[i].Peers = changed
	}
	g.stop(0)
	g.start(0)
	g.stop(1)
	g.start(1)
	must(t, Change(timeout(t, 20*time.Second), Config{Peers: all[:2]}, MemberChange{Add: all[3]}))
	g.start(3)
	const want = "the group's voters are a, b, c, d, of which 3 must live; counted, but not in the list of peers: c"
	eventually(t, "a line", func() bool { return strings.Contains(said.String(), want) })
	group, err := Inspect(timeout(t, 10*time.Second), Config{Peers: changed})
	must(t, err)
	if text := group.Differs(changed); text != want {
		t.Errorf("got %q", text)
	}
	if text := group.Differs(all); text != "" {
		t.Errorf("got %q", text)
	}
}
