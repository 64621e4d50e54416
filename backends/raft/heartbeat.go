package raft

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// patient reports whether the timing leaves room for an idle group to cost less: a
// shorter one was chosen for its speed, and is left alone.
func (c Config) patient() bool { return c.timing() >= 500*time.Millisecond }

// calm has this node send fewer heartbeats while it leads: one in 400 to 800 ms for a
// timing of a second. The library sends one to every follower each tenth to fifth of the
// heartbeat timeout, beside the replication that says the same every one to two
// CommitTimeouts, and that was most of what an idle group cost. What a follower waits
// for stays as it was.
func (n *node) calm(ctx context.Context) {
	timing := n.config.timing()
	if !n.config.patient() {
		return
	}
	for {
		select {
		case leads := <-n.raft.LeaderCh():
			err := n.reload(func(c *raft.ReloadableConfig) {
				c.HeartbeatTimeout, c.ElectionTimeout = timing, timing
				if leads {
					c.HeartbeatTimeout, c.ElectionTimeout = 4*timing, 4*timing
				}
			})
			if err != nil {
				n.log.Error("the heartbeat cannot be changed", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// reload changes a part of the library's configuration.
func (n *node) reload(change func(*raft.ReloadableConfig)) error {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	c := n.raft.ReloadableConfig()
	change(&c)
	return n.raft.ReloadConfig(c)
}
