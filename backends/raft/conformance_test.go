package raft

import (
	"context"
	"errors"
	"flag"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/lab/ways"
)

// lacking is what nobody can do to a ledger behind a replicated log.
func lacking(more map[conformance.Fault]string) map[conformance.Fault]string {
	lacks := map[conformance.Fault]string{
		conformance.DeleteSession: "nobody reaches the ledger's records but through the Locker",
		conformance.RevokeLease:   "the ledger has no leases",
		conformance.Pause:         "the nodes are in this process",
		conformance.LoseNode:      "the group is its nodes: RunLeaderKilled loses one",
		conformance.Leftovers:     "the ledger has no leases: who stands by evicts the silent",
		conformance.Save:          "the nodes are the contenders themselves: who puts them all back ends all who had seen more",
		conformance.DeleteRole:    "nobody reaches the ledger's records but through the Locker",
		conformance.Overwrite:     "nobody reaches the ledger's records but through the Locker",
	}
	for f, why := range more {
		lacks[f] = why
	}
	return lacks
}

// slower leaves a busy machine time, and cuts the log often.
func slower(c *Config) {
	c.Timing = 200 * time.Millisecond
	c.snapshots = snapshots{threshold: 1024, trailing: 256, interval: time.Second}
}

// TestSuite runs the suite over clients of a group of three, each behind
// proxies of its own. All of it is over mutual TLS, with what `understudy raft certs` makes;
// TestSuiteFar and TestSuiteOfMembers are without.
func TestSuite(t *testing.T) {
	dir := t.TempDir()
	_, err := certs.Make(dir, []certs.Wanted{{Name: "a"}, {Name: "b"}, {Name: "c"}}, time.Hour)
	must(t, err)
	g := newGroup(t, 3, func(c *Config) {
		slower(c)
		c.CAFile, c.CertFile, c.KeyFile = filepath.Join(dir, "ca.pem"), filepath.Join(dir, c.ID+".pem"), filepath.Join(dir, c.ID+".key")
	}).start()
	conformancetest.Run(t, g.suite())
}

// Each beat is written to a disk by two nodes on one busy machine: that must fit into what
// the distance leaves of a try.
var distances = flag.String("far", "2s/0.85", "see conformancetest.RunFar")

// TestSuiteFar runs the suite over clients that are far away from the group.
func TestSuiteFar(t *testing.T) {
	g := newGroup(t, 3, slower).start()
	conformancetest.RunFar(t, g.suite(), *distances)
}

func (g *group) suite() conformance.Suite {
	return conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			return &conformance.Store{
				Open:       func(context.Context) (*conformance.Client, error) { return g.dial() },
				Restart:    g.restart,
				KillLeader: g.killLeader,
				Compact:    g.compact,
			}, nil
		},
		Lacks: lacking(nil),
		TTL:   3 * time.Second, Slack: 3 * time.Second, History: 20 * time.Second,
	}
}

// dial opens a client whose way to each node leads through a proxy.
func (g *group) dial() (*conformance.Client, error) {
	w := ways.New()
	var peers []Peer
	for _, p := range g.configs[0].Peers {
		through, err := w.Through(p.Address)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		peers = append(peers, Peer{p.ID, through})
	}
	c := g.configs[0]
	return w.Client(Dial(Config{Peers: peers, CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}))
}

// restart stops all nodes at once, as a power failure does, and starts them on their
// data.
func (g *group) restart(context.Context) error {
	var all sync.WaitGroup
	for i := range g.nodes {
		all.Go(func() { g.kill(i) })
	}
	all.Wait()
	g.start()
	return nil
}

// kill ends a node without a word to the others.
func (g *group) kill(i int) {
	n := g.nodes[i]
	n.once.Do(n.shut)
	g.stop(i)
}

// killLeader kills the leader, and starts it again when another node leads.
func (g *group) killLeader(context.Context) error {
	old, _ := g.leader()
	g.kill(old)
	g.leader()
	g.start(old)
	return nil
}

// compact kills a follower and has the log cut beyond what it knows: it is sent a
// snapshot then.
func (g *group) compact(ctx context.Context) error {
	leader, away := g.leader()
	last := g.nodes[away].raft.LastIndex()
	g.kill(away)
	for {
		if low, err := g.nodes[leader].dir.bolt.FirstIndex(); err != nil || low > last+1 {
			g.start(away)
			return err
		}
		if err := g.lockers[leader].Raise(ctx, 0); err != nil {
			g.start(away)
			return err
		}
	}
}

// TestSuiteOfMembers runs the suite over the nodes themselves.
func TestSuiteOfMembers(t *testing.T) {
	g := newGroup(t, 3, slower).start()
	var opened atomic.Int64
	conformancetest.Run(t, conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			return &conformance.Store{Open: func(context.Context) (*conformance.Client, error) {
				m := &member{Store: g.nodes[opened.Add(1)%3]}
				m.ctx, m.cancel = context.WithCancelCause(context.Background())
				return &conformance.Client{Locker: ledger.NewLocker(m)}, nil
			}}, nil
		},
		Lacks: lacking(map[conformance.Fault]string{
			conformance.Cut:         "the Locker is a node of the group, in this process",
			conformance.CutReplies:  "the Locker is a node of the group, in this process",
			conformance.CutRequests: "the Locker is a node of the group, in this process",
			conformance.Refuse:      "the Locker is a node of the group, in this process",
			conformance.Restart:     "a Locker that is a node ends with it",
			conformance.KillLeader:  "a Locker that is a node ends with it",
			conformance.Compact:     "no Locker that is a node can be behind its own ledger: see TestSnapshotWakesWatchers",
		}),
		TTL: 2 * time.Second, Slack: 3 * time.Second,
	})
}

// A member is a node that several Lockers use; each is closed by itself.
type member struct {
	ledger.Store
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (m *member) Propose(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	ctx, done := m.join(ctx)
	defer done()
	if ctx.Err() != nil {
		return ledger.Result{}, context.Cause(ctx)
	}
	return m.Store.Propose(ctx, c)
}

func (m *member) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	ctx, done := m.join(ctx)
	defer done()
	if ctx.Err() != nil {
		return ledger.View{}, context.Cause(ctx)
	}
	return m.Store.Look(ctx, after, roles...)
}

func (m *member) join(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.ctx, func() { cancel(errClosed) })
	if m.ctx.Err() != nil { // what was just started comes too late for this call
		cancel(errClosed)
	}
	return ctx, func() { stop(); cancel(nil) }
}

func (m *member) Close() error {
	m.cancel(errClosed)
	return nil
}
