// Package stores starts the stores that the processes of a test share, for that test alone.
package stores

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/kubernetes"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/backends/s3"
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

	more []string // other settings that it takes, each with what it says
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
	s.Key = map[string]string{"etcd": "etcd-endpoints", "consul": "consul-address", "postgres": "postgres-url", "kubernetes": "kubernetes-kubeconfig", "nats": "nats-url", "s3": "s3-endpoint"}[name]
	switch name {
	case "postgres":
		s.Where = s.Config.Postgres.URL
	case "nats":
		s.Where, s.Config.NATS.MayForget = s.Config.NATS.URL, true
		s.more = []string{"nats-may-forget", "true"}
	case "s3":
		m := s.Cluster.Members[0]
		s.Where = "http://" + s.Where
		s.Config.S3 = s3.Config{Endpoint: s.Where, Bucket: servers.Bucket, CredentialsFile: m.Credentials()}
		s.more = []string{"s3-bucket", servers.Bucket, "s3-credentials-file", m.Credentials()}
	case "kubernetes":
		s.Where = s.Cluster.Members[0].Kubeconfig()
		s.Config.Kubernetes = kubernetes.Config{Kubeconfig: s.Where}
	}
	return s
}

// Flags name the store on a command line.
func (s *Store) Flags() []string {
	all := []string{"--backend", s.Config.Backend}
	for one := range slices.Chunk(append([]string{s.Key, s.Where}, s.more...), 2) {
		all = append(all, "--"+one[0])
		if one[1] != "true" {
			all = append(all, one[1])
		}
	}
	return all
}

// Environment names the store in variables.
func (s *Store) Environment() []string {
	all := []string{"UNDERSTUDY_BACKEND=" + s.Config.Backend}
	for one := range slices.Chunk(append([]string{s.Key, s.Where}, s.more...), 2) {
		all = append(all, "UNDERSTUDY_"+strings.ToUpper(strings.ReplaceAll(one[0], "-", "_"))+"="+one[1])
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
