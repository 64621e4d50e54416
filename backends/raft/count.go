package raft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// A counter is raft.db with a count of its writes. Each of them, an entry, a vote or a cut of
// the log, is one transaction of bbolt, which numbers them in the file itself. So the number
// says how old a raft.db is, whatever Raft takes back of its log.
//
// Once a write is on disk its number goes into node.json, in place and without an fsync of
// its own: a process that is killed leaves it there, and only a machine that stops may lose
// what settle had not made durable yet. The number is never greater than what raft.db holds.
type counter struct {
	*raftboltdb.BoltStore

	dir     *directory
	mu      sync.Mutex
	marker  marker   // with the number of the last write
	file    *os.File // node.json; nil: it does not follow yet
	settled uint64   // the number that is durable there
	err     error    // why the number could not be written; a later one makes good what is missing

	missed atomic.Uint64                   // the last entry that the disk did not take, which no later one has made good; 0: none
	began  atomic.Pointer[time.Time]       // when the write of entries or of a term that is under way began; nil: none is
	runs   atomic.Pointer[context.Context] // Raft runs until this ends; nil: not yet

	diverged atomic.Pointer[raft.Log] // in place of the entry with its index; nil: none is another than it should be

	sizes map[uint64]int // of the entries of the log, by index, in bytes
	bytes int            // of all of them
	most  int            // how many they may be before the log is cut
	full  chan struct{}  // signalled while they are more
}

var (
	_ raft.LogStore    = (*counter)(nil)
	_ raft.StableStore = (*counter)(nil)
)

func (c *counter) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

func (c *counter) StoreLogs(l []*raft.Log) error {
	now := time.Now()
	c.began.Store(&now)
	defer c.began.Store(nil)
	last := l[len(l)-1].Index
	if err := c.count(c.BoltStore.StoreLogs(summed(l))); err != nil {
		c.missed.Store(max(c.missed.Load(), last))
		return err
	}
	c.weigh(l...)
	if last >= c.missed.Load() {
		c.missed.Store(0)
	}
	c.wrote()
	return nil
}

// wrote says that raft.db can be written again. A disk that is full takes a write now and then.
func (c *counter) wrote() {
	if c.dir.look() && c.missed.Load() == 0 {
		c.dir.can("write " + logFile)
	}
}

// hangs is how long entries, or a term, have been under way to the disk.
func (c *counter) hangs() time.Duration {
	if began := c.began.Load(); began != nil {
		return time.Since(*began)
	}
	return 0
}

func (c *counter) DeleteRange(low, high uint64) error {
	err := c.count(c.BoltStore.DeleteRange(low, high))
	if err == nil {
		c.unweigh(low, high)
		c.cutOff(low)
	}
	return err
}

// count counts a write that came to err. That its number could not be noted fails nothing:
// the write itself is there.
func (c *counter) count(err error) error {
	if err != nil {
		return c.dir.cannot("write "+logFile, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marker.Writes++
	if c.file != nil {
		_, c.err = c.file.WriteAt(c.marker.encode(), 0)
	}
	return nil
}

// writes returns the number of the last write.
func (c *counter) writes() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.marker.Writes
}

// follow makes m the marker, durably, and has it follow every write from now on.
func (c *counter) follow(path string, m marker) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.Writes = c.marker.Writes
	if err := m.write(path); err != nil {
		return err
	}
	c.marker, c.settled = m, m.Writes
	c.file, err = os.OpenFile(filepath.Join(path, markerFile), os.O_WRONLY, 0)
	return err
}

// settle makes the number durable, and says once what went wrong with it.
func (c *counter) settle() error {
	c.mu.Lock()
	file, n, err := c.file, c.marker.Writes, c.err
	settled := file == nil || n == c.settled
	c.settled, c.err = n, nil
	c.mu.Unlock()
	if !settled {
		err = errors.Join(err, file.Sync())
	}
	if err != nil {
		return fmt.Errorf("note in %s how often %s was written: %w", markerFile, logFile, err)
	}
	return nil
}

func (c *counter) Close() error {
	err := c.settle()
	if c.file != nil {
		err = errors.Join(err, c.file.Close())
	}
	return errors.Join(err, c.BoltStore.Close())
}

// settle makes durable, every now and then, how often raft.db was written.
func (n *node) settle(ctx context.Context) {
	for {
		select {
		case <-time.After(report):
		case <-ctx.Done():
			return
		}
		if err := errors.Join(n.dir.bolt.settle(), n.keepHeard()); err != nil && n.said.due("settle") {
			n.log.Error("an older raft.db may not be noticed", "dir", n.config.Dir, "error", err)
		}
	}
}
