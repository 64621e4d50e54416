package raft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

var must, timeout, eventually = lab.Must, lab.Within, lab.Eventually

func TestMain(m *testing.M) {
	if config := os.Getenv("RAFT_TEST_NODE"); config != "" {
		runNode(config)
	}
	goleak.VerifyTestMain(m)
}

// A group is a number of nodes in this process, with real sockets and disks.
type group struct {
	t       testing.TB
	configs []Config
	nodes   []*node
	lockers []lock.Locker
}

// newGroup returns a group of n nodes of which none runs.
func newGroup(t testing.TB, n int, change func(*Config)) *group {
	t.Helper()
	g := &group{t: t, nodes: make([]*node, n), lockers: make([]lock.Locker, n)}
	var peers []Peer
	addresses, err := servers.Addresses(n)
	must(t, err)
	for i, address := range addresses {
		peers = append(peers, Peer{string(rune('a' + i)), address})
	}
	for i := range peers {
		c := Config{
			ID: peers[i].ID, Dir: filepath.Join(t.TempDir(), peers[i].ID), Peers: peers, Timing: 400 * time.Millisecond, // a busy machine has to elect somebody within it
			listen: time.Millisecond, // nobody counts a new node here
			Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		}
		if change != nil {
			change(&c)
		}
		g.configs = append(g.configs, c)
	}
	t.Cleanup(func() {
		for i := range g.nodes {
			g.stop(i)
		}
	})
	return g
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		fmt.Fprintf(os.Stderr, "%s: %s", w.t.Name(), p)
	}
	return len(p), nil
}

// start starts the nodes, all of them where none is named, at once.
func (g *group) start(which ...int) *group {
	g.t.Helper()
	if len(which) == 0 {
		for i := range g.configs {
			which = append(which, i)
		}
	}
	errs := make(chan error, len(which))
	for _, i := range which {
		go func() {
			n, err := open(timeout(g.t, 20*time.Second), g.configs[i])
			if err == nil {
				g.nodes[i], g.lockers[i] = n, ledger.NewLocker(n)
			}
			errs <- err
		}()
	}
	for range which {
		must(g.t, <-errs)
	}
	return g
}

func (g *group) stop(i int) {
	if g.nodes[i] != nil {
		if err := g.nodes[i].Close(); err != nil {
			g.t.Errorf("close %d: %v", i, err)
		}
		g.nodes[i] = nil
	}
}

// leader returns the index of the leader, and that of another node.
func (g *group) leader() (leader, follower int) {
	g.t.Helper()
	leader, follower = -1, -1
	eventually(g.t, "a leader", func() bool {
		leader, follower = -1, -1
		for i, n := range g.nodes {
			switch {
			case n == nil:
			case n.leading() && n.raft.VerifyLeader().Error() == nil:
				leader = i
			default:
				follower = i
			}
		}
		return leader >= 0
	})
	return leader, follower
}

func register(t testing.TB, l lock.Locker, id string) lock.Session {
	t.Helper()
	c := lock.Contender{ID: id, Session: lock.SessionID(fmt.Sprintf("%s-%d", id, time.Now().UnixNano()))}
	p := lock.Promise{TTL: time.Second, Skew: 60 * time.Millisecond}
	var s lock.Session
	eventually(t, "registration of "+id, func() bool {
		var err error
		s, err = l.Register(timeout(t, 5*time.Second), c, p, lock.Bid{Role: "r"})
		return err == nil
	})
	return s
}

// acquire takes the role, again until the outcome is known.
func acquire(t testing.TB, s lock.Session) (token lock.Token) {
	t.Helper()
	eventually(t, "the role", func() bool {
		var err error
		token, err = s.TryAcquire(timeout(t, 5*time.Second), "r")
		return err == nil
	})
	return token
}

// standing returns how the role stands as soon as ok says so.
func standing(t testing.TB, l lock.Locker, ok func(lock.Standing) bool) lock.Standing {
	t.Helper()
	var err error
	for st, e := range l.Watch(timeout(t, 15*time.Second), "r") {
		if err = e; e == nil && ok(st) {
			return st
		}
	}
	t.Fatalf("the standing never came: %v", err)
	return lock.Standing{}
}

func holds(token lock.Token) func(lock.Standing) bool {
	return func(st lock.Standing) bool { return st.Term.Token == token && !st.Term.Vacant() }
}

func TestContractOverThreeNodes(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	ctx := timeout(t, 30*time.Second)
	a, b := register(t, g.lockers[0], "a"), register(t, g.lockers[1], "b")
	first := acquire(t, a)
	for _, l := range g.lockers {
		st := standing(t, l, holds(first))
		if st.Term.Holder.ID != "a" {
			t.Fatalf("held by %q", st.Term.Holder.ID)
		}
	}
	if _, err := b.TryAcquire(ctx, "r"); !errors.Is(err, lock.ErrHeld) {
		t.Fatalf("want ErrHeld, got %v", err)
	}
	must(t, a.Beat(ctx))
	must(t, a.Handoff(ctx, "r", first, b.ID()))
	second, err := b.TryAcquire(ctx, "r")
	must(t, err)
	if second <= first {
		t.Fatalf("token %d after %d", second, first)
	}
	standing(t, g.lockers[2], holds(second))
	must(t, b.Close(ctx))
	if err := b.Beat(ctx); !errors.Is(err, lock.ErrLost) {
		t.Fatalf("want ErrLost, got %v", err)
	}
	if third := acquire(t, a); third <= second {
		t.Fatalf("token %d after %d", third, second)
	}
}

func TestFollowerForwards(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	_, follower := g.leader()
	s := register(t, g.lockers[follower], "f")
	token := acquire(t, s)
	standing(t, g.lockers[follower], holds(token))
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := s.Beat(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("want Canceled, got %v", err)
	}
}

func TestLeaderStops(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	leader, follower := g.leader()
	s := register(t, g.lockers[follower], "f")
	first := acquire(t, s)
	begun := time.Now()
	g.stop(leader)
	t.Logf("closing the leader took %v", time.Since(begun))
	next, _ := g.leader()
	if next == leader {
		t.Fatal("the leader that stopped leads")
	}
	must(t, s.Release(timeout(t, 5*time.Second), "r", first))
	if second := acquire(t, s); second <= first {
		t.Fatalf("token %d after %d", second, first)
	}
}

func TestBlockedCallObeysItsContext(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	_, follower := g.leader()
	s := register(t, g.lockers[follower], "f")
	for i := range g.nodes {
		if i != follower {
			g.stop(i)
		}
	}
	begun := time.Now()
	if err := s.Beat(timeout(t, 300*time.Millisecond)); err == nil {
		t.Fatal("a beat without a majority was acknowledged")
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Fatalf("took %v", took)
	}
	begun = time.Now()
	g.stop(follower)
	t.Logf("closing a node without a leader took %v", time.Since(begun))
	if err := s.Beat(timeout(t, time.Second)); !errors.Is(err, errClosed) {
		t.Fatalf("want %v, got %v", errClosed, err)
	}
}

func TestRestartKeepsRolesAndTokens(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	s := register(t, g.lockers[0], "a")
	first := acquire(t, s)
	for i := range g.nodes {
		g.stop(i)
	}
	g.start()
	st := standing(t, g.lockers[1], holds(first))
	if st.Term.Holder.Session != s.ID() {
		t.Fatalf("held by %q", st.Term.Holder.Session)
	}
	must(t, g.lockers[1].Evict(timeout(t, 5*time.Second), s.ID(), st.Term.Holder.Beat, lock.End{By: "test", Why: "gone"}))
	if second := acquire(t, register(t, g.lockers[2], "c")); second <= first {
		t.Fatalf("token %d after %d", second, first)
	}
}

func TestDirectoryOfAnotherProcess(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, nil).start()
	_, err := Open(timeout(t, 5*time.Second), g.configs[0])
	if err == nil || !strings.Contains(err.Error(), g.configs[0].Dir) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("want an error that names directory and PID, got %v", err)
	}
}

func TestDirectoryOfAnotherNode(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	g.stop(0)
	c := g.configs[1]
	g.stop(1)
	c.Dir = g.configs[0].Dir
	_, err := Open(timeout(t, 5*time.Second), c)
	if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), `belongs to node "a", this is "b"`) {
		t.Fatalf("want an error that names both nodes, got %v", err)
	}
}

func TestDial(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	s := register(t, g.lockers[0], "a")
	other := register(t, g.lockers[1], "b")
	token := acquire(t, s)
	g.stop(0)
	l, err := Dial(Config{Peers: g.configs[0].Peers})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	st := standing(t, l, holds(token))
	if len(st.Line) != 1 || st.Line[0].ID != "b" {
		t.Fatalf("line %v", st.Line)
	}
	must(t, l.Ask(timeout(t, 10*time.Second), "r", lock.Request{Token: token, To: other.ID(), By: "test"}))
	standing(t, l, func(st lock.Standing) bool { return st.Request.To == other.ID() })
	g.stop(1)
	g.stop(2)
	for st, err := range l.Watch(timeout(t, 500*time.Millisecond), "r") {
		if err == nil {
			t.Fatalf("a group without a majority shows the past as the present: %+v", st)
		}
	}
	err = l.Ask(timeout(t, 500*time.Millisecond), "r", lock.Request{Token: token})
	for _, p := range g.configs[0].Peers {
		if err == nil || !strings.Contains(err.Error(), p.String()) {
			t.Fatalf("want an error that names %s, got %v", p, err)
		}
	}
}
