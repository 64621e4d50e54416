package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/internal/lab/reach"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// benchPatience is how much later than its promise a failover may come: an election
// of the store may fall into it.
const benchPatience = 10 * time.Second

// benchStores are those that can be measured.
func benchStores() (names []string) {
	for _, s := range backends.Stores() {
		if s.Inside || s.Servers != nil {
			names = append(names, s.Name)
		}
	}
	return names
}

// benchBackend is a store as the bench reaches it.
func (o *options) benchBackend(name string) failover.Backend {
	given := o.Store
	given.Backend = name
	row := given.Row()
	b := failover.Backend{Who: failover.Understudy, Name: name, Inside: row.Inside, Plain: true, Patience: benchPatience}
	if row.Inside {
		b.Leader = func(ctx context.Context, addresses []string) (string, error) {
			g, err := raft.Inspect(ctx, raft.Config{Peers: benchPeers(addresses)})
			return g.Leader, err
		}
	} else if s := row.Servers(&given); len(s.Addresses) > 0 {
		b.Given, b.Plain, b.One = s.Addresses, !s.TLS, s.One
	} else {
		b.One = s.One
		b.Servers = func(c *servers.Cluster) { given = reach.Config(name, c) }
	}
	b.Command = func(c failover.Contender) (*exec.Cmd, error) {
		store := benchStore(given, c.Space, c.Addresses)
		store.Raft.Dir = c.Dir
		text, _ := json.Marshal(store) // it holds nothing that fails
		self, err := os.Executable()
		cmd := exec.Command(self, "bench-contender", "--id", c.ID, "--ttl", c.TTL.String(), "--roles", fmt.Sprint(c.Roles), fmt.Sprintf("--witness=%t", c.Witness))
		own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "UNDERSTUDY_CONFIG=") })
		cmd.Env = append(own, "UNDERSTUDY_STORE="+string(text)) // where nobody else sees it: there are secrets in it
		return cmd, err
	}
	b.Dial = func(ctx context.Context, space string, addresses []string) (lock.Locker, error) {
		return backends.Dial(ctx, benchStore(given, space, addresses))
	}
	return b
}

// benchStore is a store at other addresses, and with a prefix of the bench's own.
func benchStore(c backends.Config, space string, addresses []string) backends.Config {
	if c.Row().Inside {
		c.Raft = raft.Config{Peers: benchPeers(addresses)}
		return c
	}
	s := c.Row().Servers(&c)
	s.Use(addresses)
	*s.Prefix = s.Join(strings.Split(strings.Trim(benchPrefix(space), "/"), "/")...)
	return c
}

// benchPrefix keeps a bench's keys apart from everybody else's, its own others' too.
func benchPrefix(space string) string {
	return fmt.Sprintf("understudy-bench/%d/%s/", os.Getpid(), space)
}

// benchPeers are the nodes of the bench's group.
func benchPeers(addresses []string) (peers []raft.Peer) {
	for i, id := range failover.IDs(len(addresses)) {
		peers = append(peers, raft.Peer{ID: id, Address: addresses[i]})
	}
	return peers
}
