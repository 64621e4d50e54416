package raft

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/lock"
)

// A Checkup is what Check found in a data directory. Where it is damaged, it has what could be
// read all the same, which then may be wrong. A zero value is none, or unknown.
type Checkup struct {
	Dir       string `json:"dir"`
	Empty     bool   `json:"empty"`            // no node has begun here: one that starts is a new one
	Damage    string `json:"damage,omitempty"` // "": none
	Cure      string `json:"cure,omitempty"`   // what to do about it
	Node      string `json:"node,omitempty"`   // the ID of the node that owns it
	Directory string `json:"directory,omitempty"`
	Group     string `json:"group,omitempty"` // its identity

	Members []Member `json:"members,omitempty"` // of the group, as far as this node has heard
	Starts  uint64   `json:"starts,omitempty"`  // how often the node was started here
	Writes  uint64   `json:"writes,omitempty"`  // how often raft.db was written
	Size    int64    `json:"size,omitempty"`    // of raft.db, in bytes

	Term      uint64     `json:"term,omitempty"`      // that the node knows
	Voted     uint64     `json:"voted,omitempty"`     // the last term in which it voted
	First     uint64     `json:"first,omitempty"`     // the index of the log's first entry
	Last      uint64     `json:"last,omitempty"`      // the index of the last entry, in the log or in a snapshot
	LastTerm  uint64     `json:"lastTerm,omitempty"`  // the term of that entry
	Snapshots []Snapshot `json:"snapshots,omitempty"` // the newest first
}

// A Member is one of a group by the group's own configuration, whatever a list of peers says.
type Member struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"` // false: it learns, and is not counted
}

func membersOf(c raft.Configuration) (all []Member) {
	for _, s := range c.Servers {
		all = append(all, Member{string(s.ID), string(s.Address), s.Suffrage == raft.Voter})
	}
	return all
}

// A Snapshot is one that Check has found.
type Snapshot struct {
	ID     string `json:"id"`
	Index  uint64 `json:"index"` // of the last entry that is in it
	Term   uint64 `json:"term"`
	Size   int64  `json:"size"`             // in bytes
	Damage string `json:"damage,omitempty"` // "": none
}

// Check reads the data directory of a node that does not run, and changes nothing there. An
// error says why it could not be read at all, such as a node that runs on it. That a directory
// is an older copy of itself only the node's peers know: they are asked when it starts.
func Check(dir string) (c Checkup, err error) {
	c.Dir = dir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = errors.New("there is none; give the one that --raft-dir names")
	case err == nil && !info.IsDir():
		err = errors.New("it is a file; give the directory that --raft-dir names")
	case err == nil:
		if err := inUse(dir); err != nil {
			return c, lock.Permanent(err)
		}
		return c, c.read()
	}
	return c, lock.Permanent(fmt.Errorf("data directory %s: %w", dir, err))
}

// read fills c in. What cannot be read because it is damaged is not an error.
func (c *Checkup) read() error {
	m, r, damage := inspect(c.Dir, "")
	if errors.Is(damage, fs.ErrPermission) || damage != nil && !errors.Is(damage, lock.ErrPermanent) {
		return damage
	}
	c.Node, c.Directory, c.Group = m.ID, m.Directory, r.Group
	c.Starts, c.Writes = max(m.Starts, r.Starts), m.Writes
	for _, s := range readSnapshots(c.Dir) {
		one := Snapshot{ID: s.ID, Index: s.Index, Term: s.Term, Size: s.Size}
		if s.err != nil {
			one.Damage = s.err.Error()
		} else if c.Last == 0 {
			c.Last, c.LastTerm = s.Index, s.Term
			c.Members = membersOf(s.Configuration)
		}
		c.Snapshots = append(c.Snapshots, one)
	}
	if info, err := os.Stat(filepath.Join(c.Dir, logFile)); err == nil && !unbegun(c.Dir, m) {
		c.Size = info.Size()
	}
	if c.Size == 0 { // what inspect says then is of one that will be made
		c.Writes = 0
	}
	if err := c.readLog(); err != nil && damage == nil {
		damage = err
	}
	c.Empty = damage == nil && c.Last == 0 && c.Term == 0
	var partial *partialError
	switch {
	case errors.As(damage, &partial):
		c.Damage, c.Cure = partial.what, partialCure
	case damage != nil:
		c.Damage = damage.Error()
	}
	return nil
}

// readLog reads what raft.db says, as far as that can be read.
func (c *Checkup) readLog() (err error) {
	defer mendable(c.Dir, &err)()
	if c.Size == 0 {
		return nil
	}
	if err := lookAtPages(c.Dir); err != nil {
		return unfollowed(c.Dir, err)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(c.Dir, logFile), BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: time.Second}})
	if err != nil {
		return partial(c.Dir, "%s is damaged: %v", logFile, err)
	}
	defer func() { err = errors.Join(err, bolt.Close()) }()
	if owner, err := bolt.Get(ownerKey); err == nil && c.Node == "" {
		c.Node = string(owner)
	}
	if term, err := numberAt(bolt, termKey); err == nil {
		c.Term = term
	}
	if voted, err := numberAt(bolt, votedKey); err == nil {
		c.Voted = voted
	}
	if c.First, err = bolt.FirstIndex(); err != nil {
		return err
	}
	last, err := bolt.LastIndex()
	found := false // the last entry about the group's members
	for i := last; err == nil && i >= c.First && i > 0; i-- {
		var l raft.Log
		if err := entryAt(bolt, i, &l); err != nil {
			continue // a gap, which the damage names where it is one
		}
		if i == last && i > c.Last {
			c.Last, c.LastTerm = i, l.Term
		}
		if l.Type == raft.LogConfiguration && !found && i > c.snapshotted() {
			found = true
			c.Members = membersOf(raft.DecodeConfiguration(l.Data))
		}
	}
	return err
}

// snapshotted is the index of the newest snapshot that can be read.
func (c *Checkup) snapshotted() uint64 {
	for _, s := range c.Snapshots {
		if s.Damage == "" {
			return s.Index
		}
	}
	return 0
}
