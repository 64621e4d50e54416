package raft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/smallfile"
)

// membersFile is where a node keeps who the members are, and where. It is for the witness of its process, whose list of
// peers is that of the process's start: by and by it may name nobody that is left. Nothing else reads it.
const membersFile = "members.json"

// keepMembers writes them whenever they change.
func (n *node) keepMembers(ctx context.Context) {
	var kept []byte
	for {
		n.noteAddresses()
		var now []Peer
		for _, m := range n.members() {
			now = append(now, n.peer(m.ID))
		}
		if text, err := json.Marshal(now); err == nil && len(now) > 0 && !bytes.Equal(text, kept) {
			if replaceFile(filepath.Join(n.config.Dir, membersFile), text) == nil { // else the next round tries again
				kept = text
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
}

// replaceFile writes a file anew, so that a reader sees all of it or nothing.
func replaceFile(path string, text []byte) error {
	err := os.WriteFile(path+".tmp", text, 0o600)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(path+".tmp")) // on a disk that is full
	}
	return err
}

// learn takes in what the node has kept whose process this client is the witness of. Nobody waits for its disk.
func (c *client) learn() {
	if c.dir == "" || !c.learning.CompareAndSwap(false, true) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.learning.Store(false)
		var kept []Peer
		text, err := smallfile.Read(filepath.Join(c.dir, membersFile))
		if err != nil || json.Unmarshal(text, &kept) != nil || checkPeers(kept) != nil {
			return // it is from before there was one, or from nobody
		}
		kept = slices.DeleteFunc(kept, func(p Peer) bool { return p.ID == c.self })
		for _, p := range c.list() {
			if !slices.ContainsFunc(kept, func(k Peer) bool { return k.ID == p.ID }) {
				kept = append(kept, p)
			}
		}
		c.peers.Store(&kept)
	}()
	select {
	case <-done:
	case <-time.After(ask / 4):
	}
}

// list is whom the client asks.
func (c *client) list() []Peer { return *c.peers.Load() }
