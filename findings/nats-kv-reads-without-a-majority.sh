#!/usr/bin/env bash
# A server of NATS that is cut off from its cluster goes on answering reads of a key-value bucket.
#
# Guess: a bucket of three replicas is kept by Raft, and its documentation calls it immediately
# consistent. So a server without a majority refuses reads as it refuses writes.
# What happens: each replica answers Get by itself ("direct get", which every bucket has switched
# on). The one that was cut off gives the old holder 15 s after the others have acknowledged the
# new one. Only its writes fail.
# For users of understudy: a backend on NATS decides nothing by a read. It writes with the revision
# that it read, as every backend here does: a standing is never a grant.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/nats-io/nats-server/v2@v2.15.2 -require github.com/nats-io/nats.go@v1.53.1
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// start starts the server n, which listens for the others at port, tells them to call it at
// known, and calls them at peers.
func start(n, port, known int, peers ...int) *server.Server {
	var routes []*url.URL
	for _, p := range peers {
		routes = append(routes, must(url.Parse(fmt.Sprintf("nats://127.0.0.1:%d", p))))
	}
	s := must(server.NewServer(&server.Options{
		ServerName: fmt.Sprint("n", n), Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: fmt.Sprint(os.Args[1], "/", n),
		NoLog: true, NoSigs: true, Routes: routes,
		Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port, Advertise: fmt.Sprint("127.0.0.1:", known)},
	}))
	s.Start()
	return s
}

// between forwards connections to port until cut is closed.
func between(port int, cut chan struct{}) int {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	go func() { <-cut; l.Close() }()
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
			if err != nil { // not started yet: it is called again
				a.Close()
				continue
			}
			go func() { <-cut; a.Close(); b.Close() }()
			go io.Copy(a, b)
			go io.Copy(b, a)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func free() int {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// within tries f again until it succeeds.
func within(limit time.Duration, f func(context.Context) error) error {
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := f(ctx)
		cancel()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func main() {
	fmt.Println("nats-server", server.VERSION, "nats.go", nats.Version)
	cut, port := make(chan struct{}), [3]int{free(), free(), free()}
	via := [3]int{between(port[0], cut), between(port[1], cut), between(port[2], cut)}
	s := []*server.Server{
		start(0, port[0], via[0], via[1], via[2]), start(1, port[1], via[1], port[2]), start(2, port[2], via[2], port[1]),
	}
	bucket := func(i int) (kv jetstream.KeyValue) {
		js := must(jetstream.New(must(nats.Connect(s[i].ClientURL(), nats.IgnoreDiscoveredServers()))))
		if err := within(time.Minute, func(ctx context.Context) (err error) {
			kv, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "locks", Replicas: 3})
			return err
		}); err != nil {
			panic(err)
		}
		return kv
	}
	put := func(kv jetstream.KeyValue, holder string, limit time.Duration) error {
		return within(limit, func(ctx context.Context) error { _, err := kv.Put(ctx, "holder", []byte(holder)); return err })
	}
	get := func(kv jetstream.KeyValue) string {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		e, err := kv.Get(ctx, "holder")
		if err != nil {
			return err.Error()
		}
		return string(e.Value())
	}
	alone, others := bucket(0), bucket(1)
	fmt.Println("holder is set to a:", put(others, "a", time.Minute))
	for get(alone) != "a" {
		time.Sleep(100 * time.Millisecond)
	}
	close(cut)
	fmt.Println("one server is cut off; the other two set holder to b:", put(others, "b", time.Minute))
	time.Sleep(15 * time.Second)
	fmt.Println("15 s later, the two:", get(others), "- the one alone:", get(alone))
	fmt.Println("a write there fails:", put(alone, "c", 0) != nil)
	for _, s := range s {
		s.Shutdown()
		s.WaitForShutdown()
	}
}
GO
go mod tidy 2> /dev/null
out=$(go run . "$dir")
echo "$out"
for want in "the two: b - the one alone: a" "a write there fails: true"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: a stale holder is read without a majority"
