// Package stores starts the stores that the processes of a test share, for that test alone.
package stores

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// Names are those of the stores that processes can share.
var Names = []string{"raft", "etcd", "consul"}

// A Store is one server of a store; or the addresses of three peers of embedded Raft, a, b
// and c, which is there when they are.
type Store struct {
	Config  backends.Config
	Cluster *servers.Cluster // nil: the store is in its processes
	Key     string           // the setting that says where it is, as a flag has it
	Where   string           // and what it says
}

// Start starts a store by its name, with its files in dir. It ends with the test.
func Start(t testing.TB, name, dir string) *Store {
	t.Helper()
	s := &Store{Config: backends.Config{Backend: name}}
	row := s.Config.Row()
	if row.Inside {
		s.Config.Raft.Peers = Peers(t, "a", "b", "c")
		s.Key, s.Where = "raft-peers", List(s.Config.Raft.Peers)
		return s
	}
	var err error
	s.Cluster, err = servers.Start(lab.Within(t, time.Minute), name, filepath.Join(dir, name), 1, servers.Options{})
	lab.Must(t, err)
	t.Cleanup(s.Cluster.Stop)
	s.Where = s.Cluster.Members[0].Addr()
	row.Servers(&s.Config).Use([]string{s.Where})
	s.Key = map[string]string{"etcd": "etcd-endpoints", "consul": "consul-address"}[name]
	return s
}

// Flags name the store on a command line.
func (s *Store) Flags() []string {
	return []string{"--backend", s.Config.Backend, "--" + s.Key, s.Where}
}

// Environment names the store in variables.
func (s *Store) Environment() []string {
	return []string{
		"UNDERSTUDY_BACKEND=" + s.Config.Backend,
		"UNDERSTUDY_" + strings.ToUpper(strings.ReplaceAll(s.Key, "-", "_")) + "=" + s.Where,
	}
}

// Peers are peers of embedded Raft, each with an address that nobody uses now.
func Peers(t testing.TB, ids ...string) (peers []raft.Peer) {
	t.Helper()
	addresses, err := servers.Addresses(len(ids))
	lab.Must(t, err)
	for i, id := range ids {
		peers = append(peers, raft.Peer{ID: id, Address: addresses[i]})
	}
	return peers
}

// List are peers as a setting has them.
func List(peers []raft.Peer) string {
	var all []string
	for _, p := range peers {
		all = append(all, p.String())
	}
	return strings.Join(all, ",")
}
