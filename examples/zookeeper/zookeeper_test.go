//go:build zookeeper

package zookeeper

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/ways"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSuite proves the store on one real server, which some cases kill and start again.
func TestSuite(t *testing.T) { conformancetest.Run(t, suite(t)) }

// A write that met another takes four trips more.
var distances = flag.String("far", "2s/0.1", "see conformancetest.RunFar")

// TestSuiteFar proves it far away.
func TestSuiteFar(t *testing.T) { conformancetest.RunFar(t, suite(t), *distances) }

func suite(t *testing.T) conformance.Suite {
	server := serve.Start(t, "zookeeper", 1, servers.Options{})
	var cases atomic.Int64
	return conformance.Suite{
		TTL: 2 * time.Second, Slack: 6 * time.Second,
		New: func(context.Context) (*conformance.Store, error) {
			c := Config{Servers: server.Addresses(), Path: fmt.Sprintf("/suite/%d", cases.Add(1))}
			return &conformance.Store{
				Open: func(context.Context) (*conformance.Client, error) {
					w, way := ways.New(), c
					way.Dial = func(network, address string, timeout time.Duration) (net.Conn, error) {
						ctx, cancel := context.WithTimeout(context.Background(), timeout)
						defer cancel()
						return w.Dial(ctx, network, address)
					}
					return w.Client(Open(way), nil)
				},
				Restart: server.Restart, Pause: server.Pause,
				Save: func(ctx context.Context) (conformance.Backup, error) { return server.Save(ctx, t.TempDir()) },
				DeleteSession: func(ctx context.Context, id lock.SessionID) error {
					s := newStore(c)
					return errors.Join(object.DeleteSession(ctx, s, id), s.Close())
				},
			}, nil
		},
		Lacks: map[conformance.Fault]string{
			conformance.KillLeader:  "there is one server",
			conformance.LoseNode:    "there is one server",
			conformance.Compact:     "a znode has no history",
			conformance.RevokeLease: "the znode is not an ephemeral one",
			conformance.Leftovers:   "nothing hangs on a session of ZooKeeper's: standbys evict silent sessions",
			conformance.DeleteRole:  "a role has no record of its own: see TestDeletedByHand",
			conformance.Overwrite:   "a role has no record of its own",
			conformance.Values:      "the store keeps no values",
		},
	}
}

// TestDeletedByHand deletes the value, alone and with its znode, and makes another with the same versions: a write on the old
// one changes nothing, and tokens go on rising.
func TestDeletedByHand(t *testing.T) {
	server := serve.Start(t, "zookeeper", 1, servers.Options{})
	ctx := lab.Within(t, time.Minute)
	one, other := newStore(Config{Servers: server.Addresses(), Path: "/a/b"}), newStore(Config{Servers: server.Addresses(), Path: "/a/b"})
	defer func() { lab.Must(t, errors.Join(one.Close(), other.Close())) }()
	write := func(s *store, text, on string) object.Value {
		t.Helper()
		v, err := s.Put(ctx, []byte(text), on)
		lab.Must(t, err)
		return v
	}
	start, err := one.Start(ctx)
	lab.Must(t, err)
	for range 2 {
		first := write(one, "first", "")
		second := write(one, "second", first.Version)
		if _, err := other.Put(ctx, []byte("late"), first.Version); !errors.Is(err, object.ErrConflict) {
			t.Errorf("a write on the version before: %v", err)
		}
		if _, err := other.Put(ctx, []byte("another"), ""); !errors.Is(err, object.ErrConflict) {
			t.Errorf("a first write where there is a value: %v", err)
		}
		l, err := other.current(ctx)
		lab.Must(t, err)
		word, _, _ := parse(second.Version)
		lab.Must(t, l.conn.Delete("/a/b/"+word, -1))
		again := write(other, "first", "")
		write(other, "third", again.Version)
		if _, err := one.Put(ctx, []byte("lost"), second.Version); !errors.Is(err, object.ErrConflict) {
			t.Errorf("a write on what was deleted: %v", err)
		}
		v, err := one.Get(ctx)
		lab.Must(t, err)
		if string(v.Data) != "third" {
			t.Errorf("it holds %q", v.Data)
		}
		next, err := one.Start(ctx)
		lab.Must(t, err)
		if next <= start {
			t.Errorf("%d after %d", next, start)
		}
		start = next
		word, _, _ = parse(v.Version)
		lab.Must(t, errors.Join(l.conn.Delete("/a/b/"+word, -1), l.conn.Delete("/a/b", -1)))
	}
}

// TestBehind reads from followers what was just written through the leader.
func TestBehind(t *testing.T) {
	cluster := serve.Start(t, "zookeeper", 3, servers.Options{})
	ctx := lab.Within(t, time.Minute)
	all := cluster.Addresses()
	leader, err := cluster.Leader(ctx)
	lab.Must(t, err)
	all[0], all[leader] = all[leader], all[0]
	writer := newStore(Config{Servers: all[:1], Path: "/a/b"})
	defer func() { lab.Must(t, writer.Close()) }()
	_, err = writer.Start(ctx)
	lab.Must(t, err)
	v, err := writer.Put(ctx, []byte("0"), "")
	lab.Must(t, err)
	var readers []*store
	for _, address := range all[1:] {
		readers = append(readers, newStore(Config{Servers: []string{address}, Path: "/a/b"}))
	}
	for n := range 200 {
		v, err = writer.Put(ctx, fmt.Append(nil, n), v.Version)
		lab.Must(t, err)
		for _, r := range readers {
			seen, err := r.Get(ctx)
			lab.Must(t, err)
			if seen.Version != v.Version {
				t.Fatalf("%q is read after %d", seen.Data, n)
			}
		}
	}
	for _, r := range readers {
		lab.Must(t, r.Close())
	}
}

// TestRestored puts an earlier state of the server back, in which somebody writes another value with a version that was there
// already: who saw the first writes nothing on it.
func TestRestored(t *testing.T) {
	server := serve.Start(t, "zookeeper", 1, servers.Options{})
	ctx := lab.Within(t, time.Minute)
	one, other := newStore(Config{Servers: server.Addresses(), Path: "/a/b"}), newStore(Config{Servers: server.Addresses(), Path: "/a/b"})
	defer func() { lab.Must(t, errors.Join(one.Close(), other.Close())) }()
	_, err := one.Start(ctx)
	lab.Must(t, err)
	first, err := one.Put(ctx, []byte("first"), "")
	lab.Must(t, err)
	restore, err := server.Save(ctx, t.TempDir())
	lab.Must(t, err)
	second, err := one.Put(ctx, []byte("second"), first.Version)
	lab.Must(t, err)
	lab.Must(t, restore(ctx))
	_, err = other.Put(ctx, []byte("another"), first.Version)
	lab.Must(t, err)
	_, err = one.Put(ctx, []byte("third"), second.Version)
	for errors.Is(err, errLost) || errors.Is(err, zk.ErrConnectionClosed) { // it notices only now
		_, err = one.Put(ctx, []byte("third"), second.Version)
	}
	if !errors.Is(err, object.ErrConflict) {
		t.Errorf("a write on what was lost: %v, want ErrConflict", err)
	}
	v, err := one.Get(ctx)
	lab.Must(t, err)
	if string(v.Data) != "another" {
		t.Errorf("it holds %q", v.Data)
	}
}
