package raft

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// The library cuts its log by the number of entries. They may have a megabyte each, so a
// node cuts it by bytes as well.
const (
	maxLog  = 16 << 20 // bytes of the log, before it is cut
	leftLog = 4        // a quarter of them stays at most, for a follower that is a little behind
)

// measure weighs the log as it is. Before what a snapshot of the leader replaced there may
// be a gap.
func (c *counter) measure() error {
	c.sizes, c.full = map[uint64]int{}, make(chan struct{}, 1)
	first, err := c.FirstIndex()
	if err != nil {
		return err
	}
	last, err := c.LastIndex()
	if err != nil {
		return err
	}
	there := func(i uint64) bool {
		var l raft.Log
		if err = c.GetLog(i, &l); err == nil {
			c.weigh(&l)
		}
		return err == nil
	}
	for ; there(first); first++ {
	}
	if !errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	for ; first < last && there(last); last-- {
	}
	if errors.Is(err, raft.ErrLogNotFound) {
		return nil
	}
	return err
}

func (c *counter) weigh(logs ...*raft.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		c.bytes -= c.sizes[l.Index] // it may be written anew
		c.sizes[l.Index] = len(l.Data)
		c.bytes += len(l.Data)
	}
	if c.most > 0 && c.bytes > c.most {
		select {
		case c.full <- struct{}{}:
		default:
		}
	}
}

// limit says how many bytes the log may have.
func (c *counter) limit(most int) {
	c.most = most
	c.weigh()
}

func (c *counter) unweigh(low, high uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := low; i <= high; i++ {
		c.bytes -= c.sizes[i]
		delete(c.sizes, i)
	}
}

// trailing is how many of the last entries have the bytes that are left.
func (c *counter) trailing(last uint64) (n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for sum := 0; n < last; n++ {
		if sum += c.sizes[last-n]; sum > c.most/leftLog {
			break
		}
	}
	return max(n, 1)
}

// trim cuts the log whenever it has too many bytes.
func (n *node) trim(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-n.dir.bolt.full:
		case <-ctx.Done():
			return
		}
		pause := time.Duration(0)
		if err := n.cut(); err != nil && !errors.Is(err, raft.ErrRaftShutdown) {
			n.log.Debug("the log is not cut yet", "error", err)
			pause = 500 * time.Millisecond
		}
		rest(ctx, pause)
	}
}

// cut has the library make a snapshot and keep only what fits of the log before it.
func (n *node) cut() error {
	usual := n.raft.ReloadableConfig().TrailingLogs
	fits := n.dir.bolt.trailing(n.raft.LastIndex())
	if err := n.reload(func(c *raft.ReloadableConfig) { c.TrailingLogs = min(usual, fits) }); err != nil {
		return err
	}
	err := n.raft.Snapshot().Error()
	return errors.Join(err, n.reload(func(c *raft.ReloadableConfig) { c.TrailingLogs = usual }))
}

// commitUnlessRefused commits a command. A write that would be refused is not kept whole: it
// is refused by what the group had committed after the call began.
func (n *node) commitUnlessRefused(c ledger.Command, data []byte) (ledger.Result, error) {
	if _, ok := n.machine.refusal(c); ok {
		return n.commit(data, patience)
	}
	nothing, err := encode(ledger.Command{Op: ledger.Nothing})
	if err != nil {
		return ledger.Result{}, err
	}
	now, err := n.commit(nothing, patience)
	if err != nil {
		return ledger.Result{}, err
	}
	r, ok := n.machine.refusal(c)
	if ok {
		return n.commit(data, patience)
	}
	r.Revision = now.Revision
	return r, nil
}

// announce appends an empty entry: with it the followers learn that the one
// before is committed, at once instead of one to two CommitTimeouts later.
func (n *node) announce() {
	if data, err := encode(ledger.Command{Op: ledger.Nothing}); err == nil {
		_, _ = n.commit(data, patience) // it is only faster than not to
	}
}
