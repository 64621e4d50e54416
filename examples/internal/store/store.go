// Package store has the one flag by which the examples choose their store.
package store

import (
	"flag"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/raft"
)

// Flags parses the command line: -store and -id. Raft keeps its data in raft-ID in the
// working directory.
func Flags() (c backends.Config, id string, err error) {
	where := flag.String("store", "raft://a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003",
		"etcd://HOST:PORT,... or consul://HOST:PORT or raft://ID=HOST:PORT,...")
	flag.StringVar(&id, "id", "a", "of this process; with raft one of the peers")
	flag.Parse()
	name, rest, _ := strings.Cut(*where, "://")
	c.Backend = name
	switch name {
	case "raft":
		c.Raft = raft.Config{ID: id, Dir: "raft-" + id}
		c.Raft.Peers, err = raft.ParsePeers(rest)
	case "etcd":
		c.Etcd = etcd.Config{Endpoints: etcd.ParseEndpoints(rest)}
	case "consul":
		c.Consul = consul.Config{Address: rest}
	default:
		err = fmt.Errorf("store %q: must begin with etcd://, consul:// or raft://", *where)
	}
	return c, id, err
}
