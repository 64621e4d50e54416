package consul

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/ways"
)

// connections is how many may come from one address: here all of them do.
const connections = "limits { http_max_conns_per_client = 4000 }\n"

// TestSuite runs the suite on one real server, each Locker behind a proxy of
// its own, under exactly the policy in docs/consul.md.
func TestSuite(t *testing.T) {
	s := restricted(t)
	s.Lacks[conformance.KillLeader] = "one server has no other: see TestSuiteOfThree"
	conformancetest.Run(t, s)
}

var distances = flag.String("far", conformancetest.Distance, "see conformancetest.RunFar")

// TestSuiteFar runs the suite far away from one server, under the same policy.
func TestSuiteFar(t *testing.T) {
	s := restricted(t)
	s.Lacks[conformance.KillLeader] = "one server has no other: see TestSuiteOfThree"
	conformancetest.RunFar(t, s, *distances)
}

// restricted is the suite on one server, whose Lockers may do what docs/consul.md says,
// and no more.
func restricted(t *testing.T) conformance.Suite {
	c := start(t, 1, servers.Options{Token: root, Config: connections + `acl {
		enabled = true
		default_policy = "deny"
		tokens { initial_management = "` + root + `" }
	}`})
	return suite(t, &bench{
		TB: t, Cluster: c, hand: raw(t, c.Members[0].Addr(), root), root: tokenFile(t, root),
		token: tokenFile(t, issue(t, c, "suite", keys+sessions)),
	})
}

// TestSuiteOfThree kills the leader of three.
func TestSuiteOfThree(t *testing.T) {
	c := start(t, 3, servers.Options{Config: connections})
	s := suite(t, &bench{TB: t, Cluster: c, hand: raw(t, c.Members[0].Addr(), "")})
	s.Needing = conformance.KillLeader
	conformancetest.Run(t, s)
}

func suite(t *testing.T, b *bench) conformance.Suite {
	var cases atomic.Int64 // each has a prefix of its own
	return conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			own := *b
			own.prefix = fmt.Sprintf("understudy/%d/", cases.Add(1))
			return own.store()
		},
		Lacks: map[conformance.Fault]string{conformance.Compact: "Consul's blocking queries read no history"},
		TTL:   2 * time.Second, Slack: 2 * time.Second, History: 20 * time.Second,
	}
}

// A bench is the servers, one case's prefix, and a client by whose hand a case does
// what an operator could do.
type bench struct {
	testing.TB
	*servers.Cluster
	hand   *api.Client
	root   string // the file with the token of that hand; "": none
	token  string // and of the Lockers
	prefix string
}

func write(ctx context.Context) *api.WriteOptions { return new(api.WriteOptions).WithContext(ctx) }

func read(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

// store is what can be done to the servers.
func (b *bench) store() (*conformance.Store, error) {
	hand, err := Hand(Config{Address: b.Members[0].Addr(), Prefix: b.prefix, TokenFile: b.root})
	if err != nil {
		return nil, err
	}
	return &conformance.Store{
		Open: b.dial, Close: hand.Close,
		Restart: b.Restart, Pause: b.Pause, KillLeader: b.KillLeader, LoseNode: b.loseNode,
		Save:          func(ctx context.Context) (conformance.Backup, error) { return b.Save(ctx, b.TempDir()) },
		DeleteSession: hand.DeleteSession, RevokeLease: hand.RevokeLease, DeleteRole: hand.DeleteRole, Overwrite: hand.Overwrite,
		Leftovers: b.leftovers(map[string]bool{}),
	}, nil
}

// loseNode deregisters the agent's node, which destroys every session that hangs on
// it, and registers it again, as the agent would within a minute.
func (b *bench) loseNode(ctx context.Context) error {
	nodes, _, err := b.hand.Catalog().Nodes(read(ctx))
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range nodes {
		_, err := b.hand.Catalog().Deregister(&api.CatalogDeregistration{Node: n.Node}, write(ctx))
		errs = append(errs, err)
		_, err = b.hand.Catalog().Register(&api.CatalogRegistration{ID: n.ID, Node: n.Node, Address: n.Address}, write(ctx))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// leftovers names the keys that hang on a session of Consul's, and the sessions on
// which any ever hung.
func (b *bench) leftovers(sessions map[string]bool) func(ctx context.Context) ([]string, error) {
	return func(ctx context.Context) (names []string, err error) {
		pairs, _, err := b.hand.KV().List(b.prefix, read(ctx))
		if err != nil {
			return nil, err
		}
		for _, p := range pairs {
			if p.Session != "" {
				names, sessions[p.Session] = append(names, p.Key), true
			}
		}
		for id := range sessions {
			s, _, err := b.hand.Session().Info(id, read(ctx))
			if err != nil {
				return nil, err
			}
			if s != nil {
				names = append(names, "session "+id)
			}
		}
		return names, nil
	}
}

// dial opens a Locker whose way to its server leads through a proxy. Of three the
// server is one that does not lead, as an agent would be beside it.
func (b *bench) dial(ctx context.Context) (*conformance.Client, error) {
	at := 0
	if n := len(b.Members); n > 1 {
		leader, err := b.Leader(ctx)
		if err != nil {
			return nil, err
		}
		at = (leader + 1) % n
	}
	w := ways.New()
	through, err := w.Through(b.Members[at].Addr())
	if err != nil {
		return nil, err
	}
	return w.Client(Open(ctx, Config{Address: through, Prefix: b.prefix, TokenFile: b.token}))
}
