package fencingtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencinggrpc"
	"github.com/understudy-ha/understudy/fencing/fencinghttp"
	"github.com/understudy-ha/understudy/fencing/fencingraft"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestPaused stops an active with SIGSTOP, in the midst of its work. Another becomes
// active and writes. The first one wakes, and its very next act is a write: the resource
// refuses it, and what the other wrote stands.
func TestPaused(t *testing.T) {
	for _, c := range []struct {
		guard, store string
		resource     func(testing.TB, backends.Config) (url string, read func() string)
	}{
		{"etcd", "etcd", etcdValue},
		{"consul", "consul", consulValue},
		{"raft", "raft", raftValue},
		{"http", "etcd", httpValue},
		{"grpc", "etcd", grpcValue},
	} {
		t.Run(c.guard, func(t *testing.T) {
			var peers []raft.Peer
			if c.store == "raft" {
				peers = stores.Peers(t, "a", "b", "c")
			}
			url, read := c.resource(t, storeOf(t, c.store, peers, 2))
			start := func(i int) *process {
				store := storeOf(t, c.store, peers, i)
				return contender{Store: store, ID: string(rune('a' + i)), Guard: c.guard, URL: url}.start(t)
			}
			if c.store == "raft" { // a group begins together; whoever is active first is paused
				pausedAmong(t, []*process{start(0), start(1), start(2)}, read)
				return
			}
			first := start(0)
			paused(t, first, first.token(t), func() (*process, uint64) {
				second := start(1)
				return second, second.token(t)
			}, read)
		})
	}
}

// pausedAmong is paused for contenders that all run already.
func pausedAmong(t *testing.T, all []*process, read func() string) {
	active := func() (*process, uint64) {
		t.Helper()
		var speaks int
		lab.Eventually(t, "one that is active", func() bool {
			speaks = slices.IndexFunc(all, func(p *process) bool { return p.Speaks() })
			return speaks >= 0
		})
		return all[speaks], all[speaks].token(t)
	}
	first, token := active()
	paused(t, first, token, active, read)
}

func paused(t *testing.T, first *process, token uint64, then func() (*process, uint64), read func() string) {
	t.Helper()
	first.Want("accepted first of " + first.ID)
	first.Say("before")
	first.Want("accepted before")
	must(t, first.Pause())
	first.Say("stale")
	second, next := then()
	second.Want("accepted first of " + second.ID)
	must(t, first.Resume())
	first.Want(fmt.Sprintf("refused stale: %d for %d", token, next))
	if got, want := read(), "first of "+second.ID; got != want {
		t.Fatalf("the value is %q, want %q", got, want)
	}
	second.Say("after")
	second.Want("accepted after")
	if got := read(); got != "after" {
		t.Fatalf("the value is %q, want what the new active wrote last", got)
	}
}

func etcdValue(t testing.TB, c backends.Config) (string, func() string) {
	client := etcdClient(t)
	return "", func() string {
		r, err := client.Get(within(t, time.Minute), dataKey(c.Etcd.Prefix))
		must(t, err)
		return string(r.Kvs[0].Value)
	}
}

func consulValue(t testing.TB, c backends.Config) (string, func() string) {
	client := consulClient(t)
	return "", func() string {
		pair, _, err := client.KV().Get(dataKey(c.Consul.Prefix), nil)
		must(t, err)
		return string(pair.Value)
	}
}

func raftValue(t testing.TB, c backends.Config) (string, func() string) {
	return "", func() string {
		l, err := backends.Dial(t.Context(), backends.Config{Backend: "raft", Raft: raft.Config{Peers: c.Raft.Peers}})
		must(t, err)
		defer l.Close()
		kv, err := fencingraft.NewKV(l, "r", 1) // it only reads
		must(t, err)
		value, _, err := kv.Get(within(t, time.Minute), "data")
		must(t, err)
		return string(value)
	}
}

// A cell is a resource that keeps one value.
type cell struct {
	mu    sync.Mutex
	value string
}

func (c *cell) put(value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = value
}

func (c *cell) get() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value
}

func httpValue(t testing.TB, _ backends.Config) (string, func() string) {
	var c cell
	s := httptest.NewServer(fencinghttp.Handler(fencing.NewGate(&fencing.Memory{}, "r"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.put(string(body))
	})))
	t.Cleanup(s.Close)
	return s.URL, c.get
}

func grpcValue(t testing.TB, _ backends.Config) (string, func() string) {
	var c cell
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := grpc.NewServer(grpc.UnaryInterceptor(fencinggrpc.UnaryServer(fencing.NewGate(&fencing.Memory{}, "r"))))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "resource", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Put", Handler: func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			in := &text{}
			if err := decode(in); err != nil {
				return nil, err
			}
			return intercept(ctx, in, &grpc.UnaryServerInfo{FullMethod: method}, func(_ context.Context, in any) (any, error) {
				c.put(in.(*text).Value)
				return wrapperspb.String(""), nil
			})
		}}},
	}, &c)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String(), c.get
}
