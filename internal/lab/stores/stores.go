// Package stores starts the stores that the processes of a test share, for that test alone.
package stores

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/reach"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// Names are those of the stores that processes can share.
var Names = []string{"raft", "etcd", "consul"}

// A Store is one server of a store; or the addresses of three peers of embedded Raft, a, b
// and c, which is there when they are.
type Store struct {
	Config  backends.Config
	Cluster *servers.Cluster // nil: the store is in its processes
	Where   string           // what its first setting says: where it is
}

// Start starts a store by its name, with its files in dir. It ends with the test.
func Start(t testing.TB, name, dir string) *Store {
	t.Helper()
	s := &Store{Config: backends.Config{Backend: name}}
	if s.Config.Row().Inside {
		s.Config.Raft.Peers = Peers(t, "a", "b", "c")
	} else {
		var err error
		s.Cluster, err = servers.Start(lab.Within(t, time.Minute), name, filepath.Join(dir, name), 1, servers.Options{})
		lab.Must(t, err)
		t.Cleanup(s.Cluster.Stop)
		s.Config = reach.Config(name, s.Cluster)
	}
	s.Where = s.settings()[0].Text
	return s
}

// settings are those that name the store.
func (s *Store) settings() (all []config.Value) {
	usual := new(config.Config).Values()
	for i, v := range (&config.Config{Store: s.Config}).Values() {
		if v.Key.Store != "" && v.Text != usual[i].Text {
			all = append(all, v)
		}
	}
	return all
}

// Flags name the store on a command line.
func (s *Store) Flags() []string {
	all := []string{"--backend", s.Config.Backend}
	for _, one := range s.settings() {
		all = append(all, "--"+one.Key.Flag())
		if one.Key.Type() != "bool" {
			all = append(all, one.Text)
		}
	}
	return all
}

// Environment names the store in variables.
func (s *Store) Environment() []string {
	all := []string{"UNDERSTUDY_BACKEND=" + s.Config.Backend}
	for _, one := range s.settings() {
		all = append(all, one.Key.Variable()+"="+one.Text)
	}
	return all
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
