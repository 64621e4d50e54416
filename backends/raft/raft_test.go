package raft

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A cluster is a group of nodes in this process, over real TCP and disk.
type cluster struct {
	t     testing.TB
	dir   string
	peers []Peer
	tls   func(id string) (ca, cert, key string)
	nodes map[string]*node
}

func newCluster(t testing.TB, ids ...string) *cluster {
	c := &cluster{t: t, dir: t.TempDir(), nodes: map[string]*node{}}
	for _, id := range ids {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c.peers = append(c.peers, Peer{ID: id, Address: l.Addr().String()})
	}
	t.Cleanup(func() {
		for id := range c.nodes {
			c.stop(id)
		}
	})
	return c
}

func (c *cluster) config(id string) Config {
	cfg := Config{
		ID: id, Dir: filepath.Join(c.dir, id), Peers: c.peers, Timing: 100 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if os.Getenv("UNDERSTUDY_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", id)
	}
	if c.tls != nil {
		cfg.CAFile, cfg.CertFile, cfg.KeyFile = c.tls(id)
	}
	return cfg
}

// start opens nodes side by side.
func (c *cluster) start(ids ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, id := range ids {
		group.Go(func() {
			n, err := openNode(ctx, c.config(id))
			if err != nil {
				c.t.Errorf("%s: %v", id, err)
				return
			}
			mu.Lock()
			c.nodes[id] = n
			mu.Unlock()
		})
	}
	group.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

func (c *cluster) stop(id string) {
	if n := c.nodes[id]; n != nil {
		delete(c.nodes, id)
		n.Close()
	}
}

// leader waits for one.
func (c *cluster) leader() string {
	c.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for id, n := range c.nodes {
			if n.raft.State() == raft.Leader {
				return id
			}
		}
	}
	c.t.Fatal("no leader")
	return ""
}

func (c *cluster) follower() string {
	leader := c.leader()
	for id := range c.nodes {
		if id != leader {
			return id
		}
	}
	c.t.Fatal("no follower")
	return ""
}

func (c *cluster) ctx() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *cluster) register(l lock.Locker, id string) lock.Session {
	c.t.Helper()
	who := lock.Contender{ID: id, Session: lock.SessionID(id + "-" + time.Now().String()[:26])}
	s, err := l.Register(c.ctx(), who, lock.Promise{TTL: time.Second, Skew: 100 * time.Millisecond}, lock.Bid{Role: "r"})
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *cluster) acquire(s lock.Session) lock.Token {
	c.t.Helper()
	for {
		t, err := s.TryAcquire(c.ctx(), "r")
		if errors.Is(err, lock.ErrMoved) {
			continue
		}
		if err != nil {
			c.t.Fatal(err)
		}
		return t
	}
}

// TestGroup walks through a term on a leader and on a follower, and restarts
// everything: tokens go on rising.
func TestGroup(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.start("a", "b", "c")
	lead, follow := c.leader(), c.follower()
	a := c.register(ledger.NewLocker(c.nodes[lead]), "a")
	b := c.register(ledger.NewLocker(c.nodes[follow]), "b")
	first := c.acquire(a)
	if _, err := b.TryAcquire(c.ctx(), "r"); !errors.Is(err, lock.ErrHeld) && !errors.Is(err, lock.ErrMoved) {
		t.Fatalf("second acquisition: %v", err)
	}
	if err := b.Beat(c.ctx()); err != nil {
		t.Fatal(err)
	}
	if err := a.Handoff(c.ctx(), "r", first, b.ID()); err != nil {
		t.Fatal(err)
	}
	second := c.acquire(b)
	if second <= first {
		t.Errorf("token %d after %d", second, first)
	}
	for _, id := range []string{"a", "b", "c"} {
		c.stop(id)
	}
	c.start("a", "b", "c")
	l := ledger.NewLocker(c.nodes["a"])
	third := c.register(l, "c")
	if err := l.Evict(c.ctx(), b.ID(), c.beat(l, b.ID()), lock.End{By: "test"}); err != nil {
		t.Fatal(err)
	}
	if got := c.acquire(third); got <= second {
		t.Errorf("token %d after %d, over a restart", got, second)
	}
}

// beat is the beat of the role's holder.
func (c *cluster) beat(l lock.Locker, id lock.SessionID) lock.Beat {
	for st, err := range l.Watch(c.ctx(), "r") {
		if err == nil && st.Term.Holder.Session == id {
			return st.Term.Holder.Beat
		}
	}
	return lock.Absent
}

// TestLeaderStops expects calls to go on when Raft's leader stops.
func TestLeaderStops(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.start("a", "b", "c")
	follow := c.follower()
	s := c.register(ledger.NewLocker(c.nodes[follow]), "x")
	for range 2 {
		lead := c.leader()
		if lead == follow {
			break
		}
		c.stop(lead)
		for err := s.Beat(c.ctx()); err != nil; err = s.Beat(c.ctx()) {
			if errors.Is(err, lock.ErrLost) {
				t.Fatal(err)
			}
		}
		c.start(lead)
	}
}

// TestWiped deletes a node's directory: it joins anew and forks nothing.
func TestWiped(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.start("a", "b", "c")
	lead := c.leader()
	s := c.register(ledger.NewLocker(c.nodes[lead]), "x")
	token := c.acquire(s)
	gone := c.follower()
	c.stop(gone)
	if err := os.RemoveAll(filepath.Join(c.dir, gone)); err != nil {
		t.Fatal(err)
	}
	c.start(gone)
	for st, err := range ledger.NewLocker(c.nodes[gone]).Watch(c.ctx(), "r") {
		if err != nil {
			t.Fatal(err)
		}
		if st.Term.Token == token {
			break
		}
	}
	if n := len(c.nodes[lead].raft.GetConfiguration().Configuration().Servers); n != 3 {
		t.Errorf("%d servers in the group", n)
	}
}

// TestWaits starts a node whose peers are silent: it does not bootstrap.
func TestWaits(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := Open(ctx, c.config("a"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "silent are b") {
		t.Errorf("alone: %v", err)
	}
}

// TestLocked opens a directory twice.
func TestLocked(t *testing.T) {
	c := newCluster(t, "a")
	c.start("a")
	cfg := c.config("a")
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	cfg.Bind = l.Addr().String()
	l.Close()
	_, err := Open(t.Context(), cfg)
	if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("second: %v", err)
	}
}

// TestClient reaches the group from outside.
func TestClient(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.start("a", "b", "c")
	s := c.register(ledger.NewLocker(c.nodes[c.follower()]), "x")
	token := c.acquire(s)
	c.stop(c.follower())
	l, err := Dial(Config{Peers: c.peers})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for st, err := range l.Watch(c.ctx(), "r") {
		if err != nil || st.Term.Token != token {
			t.Fatalf("%+v: %v", st, err)
		}
		break
	}
	if err := l.Ask(c.ctx(), "r", lock.Request{Token: token, To: "y"}); err != nil {
		t.Error(err)
	}
	if err := l.Evict(c.ctx(), s.ID(), 1, lock.End{}); !errors.Is(err, lock.ErrPermanent) {
		t.Errorf("a client's eviction: %v", err)
	}
}

// TestNewer meets an entry of a format to come: the node says so and stops.
func TestNewer(t *testing.T) {
	c := newCluster(t, "a")
	c.start("a")
	c.leader()
	n := c.nodes["a"]
	if err := n.raft.Apply([]byte(`{"Format":2}`), time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Look(t.Context(), 0); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("look: %v", err)
	}
	if err := n.raft.Snapshot().Error(); err == nil {
		t.Error("a snapshot was made over an entry that is not understood")
	}
}

// TestSnapshot restores a copy from a snapshot, and wakes who watches.
func TestSnapshot(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.start("a", "b", "c")
	s := c.register(ledger.NewLocker(c.nodes[c.leader()]), "x")
	token := c.acquire(s)
	late := c.follower()
	c.stop(late)
	lead := c.nodes[c.leader()]
	for range 50 {
		if err := s.Beat(c.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	if err := lead.raft.ReloadConfig(raft.ReloadableConfig{TrailingLogs: 1, SnapshotInterval: time.Hour, SnapshotThreshold: 1, HeartbeatTimeout: lead.config.Timing, ElectionTimeout: lead.config.Timing}); err != nil {
		t.Fatal(err)
	}
	if err := lead.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	c.start(late)
	for st, err := range ledger.NewLocker(c.nodes[late]).Watch(c.ctx(), "r") {
		if err == nil && st.Term.Token == token {
			return
		}
	}
	t.Error("the snapshot did not arrive")
}

// BenchmarkPropose is one commit, asked for at the leader and at a follower.
func BenchmarkPropose(b *testing.B) {
	c := newCluster(b, "a", "b", "c")
	c.start("a", "b", "c")
	for where, id := range map[string]string{"leader": c.leader(), "follower": c.follower()} {
		s := c.register(ledger.NewLocker(c.nodes[id]), where)
		b.Run(where, func(b *testing.B) {
			for b.Loop() {
				if err := s.Beat(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
