package main

import (
	"context"
	"os"
	"os/exec"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/lock"
)

// benchPatience is how much later than its promise a failover may come: an election
// of the store may fall into it.
const benchPatience = 10 * time.Second

// benchBackend is a store as the bench reaches it.
func (o *options) benchBackend(name string) failover.Backend {
	b := failover.Backend{Who: failover.Understudy, Name: name, Inside: name == "raft", Plain: true, Patience: benchPatience}
	b.Command = func(c failover.Contender) (*exec.Cmd, error) {
		self, err := os.Executable()
		cmd := exec.Command(self, o.benchFlags(name, c)...)
		cmd.Env = append(os.Environ(), "UNDERSTUDY_CONFIG=", "UNDERSTUDY_ETCD_PASSWORD="+o.Store.Etcd.Password, "UNDERSTUDY_CONSUL_TOKEN="+o.Store.Consul.Token)
		return cmd, err
	}
	b.Dial = func(ctx context.Context, space string, addresses []string) (lock.Locker, error) {
		return backends.Dial(ctx, o.benchStore(name, space, addresses))
	}
	switch name {
	case "raft":
		b.Leader = func(ctx context.Context, addresses []string) (string, error) {
			g, err := raft.Inspect(ctx, raft.Config{Peers: benchPeers(addresses)})
			return g.Leader, err
		}
	case "etcd":
		b.Given, b.Plain = o.Store.Etcd.Endpoints, o.Store.Etcd.CertFile == "" && o.Store.Etcd.CAFile == ""
	case "consul":
		b.Plain = o.Store.Consul.CertFile == "" && o.Store.Consul.CAFile == ""
		if o.Store.Consul.Address != "" {
			b.Given = []string{o.Store.Consul.Address}
		}
	}
	return b
}

func (o *options) benchStore(name, space string, addresses []string) backends.Config {
	c := backends.Config{Backend: name, Raft: raft.Config{Peers: benchPeers(addresses)}, Etcd: o.Store.Etcd, Consul: o.Store.Consul}
	c.Etcd.Endpoints, c.Etcd.Prefix = addresses, o.benchPrefix(space)
	if name == "consul" {
		c.Consul.Address, c.Consul.Prefix = addresses[0], o.benchPrefix(space)
	}
	return c
}

// benchPeers are the nodes of the bench's group.
func benchPeers(addresses []string) (peers []raft.Peer) {
	for i, id := range failover.IDs(len(addresses)) {
		peers = append(peers, raft.Peer{ID: id, Address: addresses[i]})
	}
	return peers
}
