// Package raft keeps the ledger in embedded Raft among the processes themselves,
// on github.com/hashicorp/raft.
//
// A token and a beat are indexes of Raft's log. Being Raft's leader is not being
// active: the role is a record here as on any store. The first format's entries
// and snapshots are JSON.
package raft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftbolt "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

var errClosed = errors.New("the locker is closed")

// again is the pause before a call is made again that was not applied.
const again = 5 * time.Millisecond

// A node is one voter.
type node struct {
	config  Config
	replica *replica
	lock    *os.File
	store   *raftbolt.BoltStore
	snaps   raft.SnapshotStore
	port    *port
	server  *http.Server
	peers   map[string]*caller // by ID, without this node

	transport raft.Transport
	raft      *raft.Raft
	ready     atomic.Bool // raft is set

	group  sync.WaitGroup
	once   sync.Once
	closed chan struct{}
}

var _ ledger.Store = (*node)(nil)

// Open starts a member of the group, and returns when Raft runs in it, which
// may be before there is a leader. At the very first start that is when every
// peer has answered: see form. It blocks until ctx is done, at most.
func Open(ctx context.Context, c Config) (lock.Locker, error) {
	n, err := openNode(ctx, c)
	if err != nil {
		return nil, err
	}
	return ledger.NewLocker(n), nil
}

func openNode(ctx context.Context, c Config) (*node, error) {
	c = c.defaults()
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", lock.ErrPermanent, err)
	}
	n := &node{config: c, replica: newReplica(), peers: map[string]*caller{}, closed: make(chan struct{})}
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *node) open(ctx context.Context) error {
	s, err := n.config.security()
	if err != nil {
		return fmt.Errorf("%w: %w", lock.ErrPermanent, err)
	}
	if err := n.openDir(); err != nil {
		return err
	}
	if n.port, err = listen(n.config, s); err != nil {
		return err
	}
	for _, p := range n.config.Peers {
		if p.ID != n.config.ID {
			n.peers[p.ID] = newCaller(p, s)
		}
	}
	n.server = n.serve()
	return n.form(ctx)
}

// openDir locks the directory and opens what is in it.
func (n *node) openDir() error {
	dir := n.config.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("raft-dir: %w", err)
	}
	var err error
	if n.lock, err = lockDir(dir); err != nil {
		return err
	}
	n.store, err = raftbolt.New(raftbolt.Options{
		Path:        filepath.Join(dir, "raft.db"),
		BoltOptions: &bbolt.Options{Timeout: time.Second, Logger: boltLogger{n.config.Logger}},
	})
	if err != nil {
		return fmt.Errorf("raft-dir %s: %w", dir, err)
	}
	if n.snaps, err = raft.NewFileSnapshotStoreWithLogger(dir, 2, raftLogger(n.config.Logger)); err != nil {
		return fmt.Errorf("raft-dir %s: %w", dir, err)
	}
	return nil
}

// start runs Raft on what the directory holds.
func (n *node) start() error {
	log := raftLogger(n.config.Logger)
	n.transport = mainLoopHeartbeats{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  &stream{intake: n.port.raft, config: n.config, security: n.port.security},
		MaxPool: 3, Timeout: max(10*n.config.Timing, time.Second), Logger: log,
	})}
	r, err := raft.NewRaft(n.settings(), n.replica, n.store, n.store, n.snaps, n.transport)
	if err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	n.raft = r
	n.ready.Store(true)
	return nil
}

func (n *node) settings() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.config.ID)
	c.HeartbeatTimeout, c.ElectionTimeout = n.config.Timing, n.config.Timing
	c.LeaderLeaseTimeout = n.config.Timing / 2
	c.CommitTimeout = min(c.CommitTimeout, n.config.Timing/5)
	c.SnapshotThreshold, c.TrailingLogs, c.SnapshotInterval = 4096, 1024, 30*time.Second
	c.Logger = raftLogger(n.config.Logger)
	return c
}

// mainLoopHeartbeats keeps heartbeats in Raft's main loop. The library's fast
// path beside it races with it: hashicorp/raft#695.
type mainLoopHeartbeats struct{ *raft.NetworkTransport }

func (mainLoopHeartbeats) SetHeartbeatHandler(func(raft.RPC)) {}

// Propose applies c on the leader, wherever that is. What was surely not applied
// is tried again until ctx is done.
func (n *node) Propose(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	for {
		r, err := n.propose(ctx, c)
		if !errors.Is(err, errNotApplied) {
			return r, err
		}
		select {
		case <-time.After(again):
		case <-n.closed:
			return ledger.Result{}, errClosed
		case <-ctx.Done():
			return ledger.Result{}, fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

func (n *node) propose(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	if !n.ready.Load() {
		return ledger.Result{}, errNotReady
	}
	if n.raft.State() == raft.Leader {
		return n.proposeHere(ctx, c)
	}
	_, id := n.raft.LeaderWithID()
	leader := n.peers[string(id)]
	if leader == nil {
		return ledger.Result{}, fmt.Errorf("%w: the group has no leader", errNotApplied)
	}
	var r ledger.Result
	return r, leader.call(ctx, "/propose", c, &r)
}

// proposeHere applies c if this node is the leader.
func (n *node) proposeHere(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	if !n.ready.Load() {
		return ledger.Result{}, errNotReady
	}
	reply, err := n.apply(ctx, c)
	if err != nil {
		return ledger.Result{}, err
	}
	switch r := reply.(type) {
	case ledger.Result:
		if r.Changed {
			n.spread()
		}
		return r, nil
	case error:
		return ledger.Result{}, r
	}
	return ledger.Result{}, fmt.Errorf("raft: an entry was answered by %T", reply)
}

// apply appends an entry and waits until it is applied here, or for ctx.
func (n *node) apply(ctx context.Context, c ledger.Command) (any, error) {
	data, err := json.Marshal(entry{Format: format, Command: c})
	if err != nil {
		return nil, err
	}
	future := n.raft.Apply(data, n.config.Timing)
	done := make(chan error, 1)
	n.group.Go(func() { done <- future.Error() })
	select {
	case err = <-done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipTransferInProgress) ||
		errors.Is(err, raft.ErrEnqueueTimeout) {
		return nil, fmt.Errorf("%w: %w", errNotApplied, err)
	}
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	return future.Response(), nil
}

// spread appends an empty entry: a follower learns that an entry is committed
// only with the leader's next message.
func (n *node) spread() {
	data, err := json.Marshal(entry{Format: format, Command: ledger.Command{Op: ledger.Nothing}})
	if err == nil {
		n.group.Go(func() { n.raft.Apply(data, n.config.Timing) })
	}
}

// Look reads this node's own copy.
func (n *node) Look(ctx context.Context, after uint64, roles ...string) ([]lock.Standing, uint64, error) {
	for {
		standings, revision, changed, err := n.replica.look(roles)
		if err != nil || revision > after || after == 0 {
			return standings, revision, err
		}
		select {
		case <-changed:
		case <-n.closed:
			return nil, 0, errClosed
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// Close leaves the group's work to the others and stops the node. It takes at
// most a little more than 250 ms and four times the timing.
func (n *node) Close() error {
	n.once.Do(n.close)
	return nil
}

func (n *node) close() {
	if n.ready.Load() {
		n.leave()
		_ = n.raft.Shutdown().Error()
	}
	close(n.closed)
	if n.server != nil {
		n.server.Close()
	}
	if n.port != nil {
		n.port.close()
	}
	if t, ok := n.transport.(mainLoopHeartbeats); ok {
		t.Close()
	}
	for _, p := range n.peers {
		p.close()
	}
	n.group.Wait()
	if n.store != nil {
		n.store.Close()
	}
	if n.lock != nil {
		n.lock.Close()
	}
}

// leave hands Raft's leadership over. While a role is changing hands it waits a
// little, as the takeover would meet an election. A transfer that is interrupted
// can hang (hashicorp/raft#696), so it is not waited for without bound.
func (n *node) leave() {
	if n.raft.State() != raft.Leader || len(n.config.Peers) == 1 {
		return
	}
	for until := time.Now().Add(250 * time.Millisecond); n.replica.takingOver() && time.Now().Before(until); {
		time.Sleep(again)
	}
	done := make(chan error, 1)
	go func() { done <- n.raft.LeadershipTransfer().Error() }()
	select {
	case <-done:
	case <-time.After(2 * n.config.Timing):
	}
}
