package raft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/lock"
)

// form starts Raft, and before that decides what an empty directory means. A node
// that lost its data has forgotten whom it voted for: were it to start again as if
// it were new, two leaders could be elected. So it asks every peer first.
//
//   - All are empty: the group is new, and everybody bootstraps with the same list.
//   - One has state: this node never bootstraps. The leader removes it, with its
//     votes, and adds it again.
//   - One is silent and none has state: nobody knows. It waits.
func (n *node) form(ctx context.Context) error {
	old, err := raft.HasExistingState(n.store, n.store, n.snaps)
	if err != nil {
		return fmt.Errorf("raft-dir %s: %w", n.config.Dir, err)
	}
	if old {
		return n.start()
	}
	told := time.Now()
	for {
		answers, silent := n.askAll(ctx)
		switch {
		case slices.ContainsFunc(answers, func(h hello) bool { return h.State }):
			return n.rejoin(ctx)
		case len(silent) == 0:
			return n.bootstrap()
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			n.config.Logger.Warn("raft: the group is not formed yet: waiting for peers", "id", n.config.ID, "silent", strings.Join(silent, ", "))
		}
		if err := n.pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("the group is not formed yet, silent are %s: %w", strings.Join(silent, ", "), err)
		}
	}
}

func (n *node) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *node) bootstrap() error {
	var group raft.Configuration
	for _, p := range n.config.Peers {
		group.Servers = append(group.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	err := raft.BootstrapCluster(n.settings(), n.store, n.store, n.snaps, nil, group)
	if err != nil {
		return fmt.Errorf("raft: bootstrap: %w", err)
	}
	return n.start()
}

// rejoin has the leader forget this node, starts it empty, and has the leader add
// it again.
func (n *node) rejoin(ctx context.Context) error {
	n.config.Logger.Warn("raft: this node's directory is empty but its group has state: it joins anew", "id", n.config.ID, "dir", n.config.Dir)
	if err := n.askToJoin(ctx, "remove"); err != nil {
		return err
	}
	if err := n.start(); err != nil {
		return err
	}
	return n.askToJoin(ctx, "add")
}

// askToJoin repeats a step of joining at every peer until one has seen it done.
func (n *node) askToJoin(ctx context.Context, step string) error {
	for {
		var errs []error
		for _, p := range n.peers {
			one, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := p.call(one, "/join", joinRequest{ID: n.config.ID, Step: step}, &struct{}{})
			cancel()
			if err == nil || errors.Is(err, lock.ErrPermanent) {
				return err
			}
			errs = append(errs, err)
		}
		if err := n.pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("joining the group again: %w: %w", err, errors.Join(errs...))
		}
	}
}

// join answers askToJoin: on the leader, or by passing it on.
func (n *node) join(ctx context.Context, q joinRequest) (struct{}, error) {
	var none struct{}
	address := n.config.address(q.ID)
	switch {
	case address == "":
		return none, fmt.Errorf("%w: %q is not in this node's peer list", lock.ErrPermanent, q.ID)
	case !n.ready.Load():
		return none, errNotReady
	case n.raft.State() != raft.Leader:
		_, id := n.raft.LeaderWithID()
		if leader := n.peers[string(id)]; leader != nil && string(id) != q.ID {
			return none, leader.call(ctx, "/join", q, &none)
		}
		return none, fmt.Errorf("%w: the group has no leader", errNotApplied)
	}
	var future raft.Future
	if q.Step == "remove" {
		future = n.raft.RemoveServer(raft.ServerID(q.ID), 0, 5*time.Second)
	} else {
		future = n.raft.AddVoter(raft.ServerID(q.ID), raft.ServerAddress(address), 0, 5*time.Second)
	}
	if err := future.Error(); err != nil {
		return none, fmt.Errorf("%s %s: %w", q.Step, q.ID, err)
	}
	n.config.Logger.Info("raft: membership", "step", q.Step, "peer", q.ID)
	return none, nil
}

// askAll asks every peer how it stands, and says who was silent. Peers that are
// set up otherwise are named in the log.
func (n *node) askAll(ctx context.Context) (answers []hello, silent []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	for id, p := range n.peers {
		group.Go(func() {
			var h hello
			err := p.call(ctx, "/hello", struct{}{}, &h)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, fmt.Sprintf("%s (%v)", id, err))
				return
			}
			n.compare(id, h)
			answers = append(answers, h)
		})
	}
	group.Wait()
	slices.Sort(silent)
	return answers, silent
}

func (n *node) compare(id string, h hello) {
	if h.ID != id {
		n.config.Logger.Error("raft: another peer answers at this address", "want", id, "got", h.ID)
	}
	if h.Timing != n.config.Timing {
		n.config.Logger.Warn("raft: the timing is the group's, but a peer's differs", "peer", id, "ours", n.config.Timing, "theirs", h.Timing)
	}
	if !slices.Equal(h.Peers, n.config.Peers) {
		n.config.Logger.Warn("raft: a peer has another peer list", "peer", id, "ours", n.config.Peers, "theirs", h.Peers)
	}
}

// hello says how this node stands. State is a log that went on from the
// bootstrap, a snapshot, or a vote.
func (n *node) hello() hello {
	last, _ := n.store.LastIndex()
	term, _ := n.store.GetUint64([]byte("CurrentTerm"))
	snaps, _ := n.snaps.List()
	return hello{
		ID: n.config.ID, Timing: n.config.Timing, Peers: n.config.Peers,
		State: last > 1 || term > 1 || len(snaps) > 0,
	}
}

// lockDir takes the directory for this process. The kernel lets go of it when the
// process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("raft-dir: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		other, _ := os.ReadFile(name)
		f.Close()
		return nil, fmt.Errorf("%w: raft-dir %s is in use by process %s; give each node a directory of its own",
			lock.ErrPermanent, dir, strings.TrimSpace(string(other)))
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintln(os.Getpid()))); err != nil {
		return nil, fmt.Errorf("raft-dir: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}
