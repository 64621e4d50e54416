package raft

import (
	"errors"

	"github.com/hashicorp/raft"
)

// A node may have entries that were never committed, and be sent a snapshot that ends among them. The
// library keeps those entries, finds that the one at the snapshot's end is another than the leader's, and refuses
// whatever comes next, so that it is sent the snapshot again and again (hashicorp/raft#697). Here the
// log says of that one entry what the snapshot says, until the library has cut off what comes after it. It does
// that by itself, once it takes the leader's next entries. Not mended is where the snapshot ends with the very last of
// those entries, which the library has in memory: there the leader's next snapshot ends it.
//
// Once the library deletes a conflicting entry when it installs a snapshot, remove this file, its two calls
// in counter and those of restored.

// restored notes, after a snapshot was restored while the node runs, whether the log has another
// entry at its end.
func (c *counter) restored(s *raft.SnapshotMeta) {
	var l raft.Log
	last, err := c.LastIndex()
	if err == nil && last > s.Index {
		err = entryAt(c.BoltStore, s.Index, &l)
	}
	if last > s.Index && (errors.Is(err, raft.ErrLogNotFound) || err == nil && l.Term != s.Term) {
		c.diverged.Store(&raft.Log{Index: s.Index, Term: s.Term, Type: raft.LogNoop})
	}
}

// GetLog is the library's.
func (c *counter) GetLog(index uint64, l *raft.Log) error {
	if end := c.diverged.Load(); end != nil && end.Index == index {
		*l = *end
		return nil
	}
	return c.unread(entryAt(c.BoltStore, index, l))
}

// cutOff forgets the end of a snapshot once the log was cut after it.
func (c *counter) cutOff(low uint64) {
	if end := c.diverged.Load(); end != nil && low > end.Index {
		c.diverged.Store(nil)
	}
}
