package failover

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// Role is what contenders compete for.
const Role = "bench"

// A Backend is a store as whoever measures it reaches it. Addresses are of the
// store's servers; with embedded Raft they are of the contenders, in the order of
// IDs.
type Backend struct {
	Who    string   // what contends: Understudy, or a baseline
	Name   string   // its servers are started here, unless there are Given ones or it is Inside
	Given  []string // addresses of servers that are somebody else's
	Inside bool     // the store lives in its contenders
	One    bool     // a contender reaches one server, its agent
	Plain  bool     // no TLS: proxies can stand between

	Servers func(*servers.Cluster) // told of those that are started here, before Command and Dial are called; nil: not

	Patience time.Duration // how much longer than a silent active's promise a failover may take, or it is late

	Command func(c Contender) (*exec.Cmd, error)                                             // how a contender is started; it runs Contend
	Dial    func(ctx context.Context, space string, addresses []string) (lock.Locker, error) // as one who only looks and asks; nil: a baseline, of which only stamps are read
	Leader  func(ctx context.Context, addresses []string) (string, error)                    // the contender that leads the store inside; else nil
}

// A Contender is what there is to know of one before it is started.
type Contender struct {
	ID        string
	Dir       string           // its own, kept over restarts
	Space     string           // one of names in the store: those of other spaces are not seen
	Addresses []string         // where it reaches the store; embedded Raft: its peers, itself among them
	Bind      string           // embedded Raft: where it listens
	Servers   *servers.Cluster // those that are started here; nil: there are none
	TTL       time.Duration
	Roles     int  // 0: it bids for Role, and stamps; else for so many, Role-1 and so on, and works at nothing
	Witness   bool // a witness stands beside it
}

// IDs are the names of contenders.
func IDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("c%d", i)
	}
	return ids
}

// members is how many servers a store has that can have several.
const members = 3

// A site is a store that is up, with a network to it that can be spoiled.
type site struct {
	backend Backend
	dir     string
	cluster *servers.Cluster // nil: there is none that is ours
}

// open starts the servers of a store, where it has some that are ours to start.
func open(ctx context.Context, b Backend, dir string) (*site, error) {
	s := &site{backend: b, dir: dir}
	if b.Inside || len(b.Given) > 0 {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var err error
	s.cluster, err = servers.Start(ctx, b.Name, filepath.Join(dir, "servers"), members, servers.Options{})
	if err == nil && b.Servers != nil {
		b.Servers(s.cluster)
	}
	return s, err
}

func (s *site) close() {
	if s.cluster != nil {
		s.cluster.Stop()
	}
}

// addresses are those of the servers.
func (s *site) addresses() []string {
	if s.cluster == nil {
		return s.backend.Given
	}
	return s.cluster.Addresses()
}

// members is how many servers are started here for a store.
func (b Backend) members() int {
	if b.Inside || len(b.Given) > 0 {
		return 0
	}
	return servers.Number(b.Name, members)
}

// A network is the ways from contenders to the store: each contender's are its own.
type network struct {
	ways    []way
	reach   map[string][]string // by contender: where it dials
	bind    map[string]string   // by contender of embedded Raft: where it listens
	outside []string            // where one dials who is not a contender
}

// A way leads from one to another; one end is a contender, the other may be.
type way struct {
	from, to string
	*servers.Proxy
}

// connect lays ways for contenders. Where they cannot be spoiled they lead straight.
func (s *site) connect(ids []string) (*network, error) {
	n := &network{reach: map[string][]string{}, bind: map[string]string{}, outside: s.addresses()}
	if s.backend.Inside {
		return n, n.peers(ids)
	}
	for i, id := range ids {
		targets := n.outside
		if s.backend.One && len(targets) > 0 {
			targets = targets[i%len(targets):][:1]
		}
		for _, target := range targets {
			address, err := n.way(id, "", target, s.backend.Plain)
			if err != nil {
				return n, errors.Join(err, n.close())
			}
			n.reach[id] = append(n.reach[id], address)
		}
	}
	return n, nil
}

// peers lays a way from each to each.
func (n *network) peers(ids []string) error {
	free, err := servers.Ports(len(ids))
	if err != nil {
		return err
	}
	for i, id := range ids {
		n.bind[id] = fmt.Sprintf("127.0.0.1:%d", free[i])
		n.outside = append(n.outside, n.bind[id])
	}
	for _, from := range ids {
		for _, to := range ids {
			address, err := n.way(from, to, n.bind[to], from != to)
			if err != nil {
				return errors.Join(err, n.close())
			}
			n.reach[from] = append(n.reach[from], address)
		}
	}
	return nil
}

func (n *network) way(from, to, target string, spoiled bool) (string, error) {
	if !spoiled {
		return target, nil
	}
	p, err := servers.StartProxy(target)
	if err != nil {
		return "", err
	}
	n.ways = append(n.ways, way{from, to, p})
	return p.Addr(), nil
}

// cut makes a black hole of every way of one contender, both ways, or ends it.
func (n *network) cut(id string, hold bool) {
	for _, w := range n.ways {
		if w.from == id || w.to == id {
			w.Hold(hold, hold)
		}
	}
}

// delay lets everything take d longer, each way.
func (n *network) delay(d time.Duration) {
	for _, w := range n.ways {
		w.Delay(d)
	}
}

func (n *network) close() error {
	for _, w := range n.ways {
		w.Close()
	}
	return nil
}
