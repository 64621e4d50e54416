package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/ways"
	"github.com/understudy-ha/understudy/lock"
)

// A raftGroup is three nodes of Raft in this process.
type raftGroup struct {
	configs []raft.Config
	nodes   []lock.Locker // nil: stopped
}

// prepareRaft is prepare for a group of our own.
func (c *check) prepareRaft(ctx context.Context) (remove func() error, err error) {
	if c.suite.TTL == 0 {
		c.suite.TTL = 2 * time.Second
	}
	c.suite.Slack = c.suite.TTL + time.Second // an election may come in between
	dir, err := os.MkdirTemp("", "understudy-conformance-")
	if err != nil {
		return nil, err
	}
	g, err := newRaftGroup(ctx, dir, raft.TimingFor(c.suite.TTL))
	remove = func() error { return errors.Join(g.stop(), os.RemoveAll(dir)) }
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	c.suite.New = func(context.Context) (*conformance.Store, error) {
		return &conformance.Store{Open: g.client, Restart: g.restart}, nil
	}
	c.suite.Lacks = inOneLedger(map[conformance.Fault]string{
		conformance.Pause: "its nodes are this process", conformance.KillLeader: "its nodes are this process",
	})
	return remove, nil
}

func newRaftGroup(ctx context.Context, dir string, timing time.Duration) (*raftGroup, error) {
	g := &raftGroup{}
	addresses, err := servers.Addresses(3)
	if err != nil {
		return g, err
	}
	peers := benchPeers(addresses)
	for _, id := range failover.IDs(len(peers)) {
		g.configs = append(g.configs, raft.Config{ID: id, Dir: filepath.Join(dir, id), Peers: peers, Timing: timing})
	}
	g.nodes = make([]lock.Locker, len(peers))
	return g, g.start(ctx)
}

// start starts all nodes at once: none of them opens alone.
func (g *raftGroup) start(ctx context.Context) error {
	errs := make([]error, len(g.configs))
	var all sync.WaitGroup
	for i, c := range g.configs {
		all.Go(func() { g.nodes[i], errs[i] = raft.Open(ctx, c) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (g *raftGroup) stop() error {
	errs := make([]error, len(g.nodes))
	var all sync.WaitGroup
	for i, n := range g.nodes {
		if n != nil {
			all.Go(func() { errs[i] = n.Close() })
		}
	}
	all.Wait()
	clear(g.nodes)
	return errors.Join(errs...)
}

// restart is the suite's: no case runs beside it.
func (g *raftGroup) restart(ctx context.Context) error { return errors.Join(g.stop(), g.start(ctx)) }

// client reaches the group from outside, as a process that is not a member does.
func (g *raftGroup) client(ctx context.Context) (*conformance.Client, error) {
	w, store := ways.New(), backends.Config{Backend: "raft"}
	for _, p := range g.configs[0].Peers {
		through, err := w.Through(p.Address)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		store.Raft.Peers = append(store.Raft.Peers, raft.Peer{ID: p.ID, Address: through})
	}
	return w.Client(backends.Dial(ctx, store))
}
