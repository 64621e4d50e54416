#!/usr/bin/env bash
# A write to a NATS bucket that has failed is sent all the same, when the server is back.
#
# Guess: a call whose context has ended is over. It may have been done, as its reply may have been
# lost; but where the server was down before the call began and is still down after it, it was not,
# and it will not be.
# What happens: the client takes the request into its buffer for reconnecting and sends it with
# the next connection, however late. Create fails with "context deadline exceeded", its caller gives
# up, and seconds later the key is there: a lock whose holder does not know of it. With
# nats.ReconnectBufSize(-1) the call fails at once, and nothing is sent.
# For users of understudy: a backend on NATS needs ReconnectBufSize(-1). Its callers reckon with a call
# that takes effect late, but each outage would end with a burst of them.
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
	"net"
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

func start(port int) *server.Server {
	s := must(server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: os.Args[1] + "/js", NoLog: true, NoSigs: true}))
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		panic("the server is not ready")
	}
	return s
}

func bucket(url string, more ...nats.Option) (*nats.Conn, jetstream.KeyValue) {
	nc := must(nats.Connect(url, append(more, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))...))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return nc, must(must(jetstream.New(nc)).CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "locks"}))
}

func create(kv jetstream.KeyValue, key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := kv.Create(ctx, key, []byte("holder"))
	return err
}

func main() {
	fmt.Println("nats-server", server.VERSION, "nats.go", nats.Version)
	s := start(-1)
	url, port := s.ClientURL(), s.Addr().(*net.TCPAddr).Port
	usual, kv := bucket(url)
	strict, strictKV := bucket(url, nats.ReconnectBufSize(-1))
	s.Shutdown()
	s.WaitForShutdown()
	for usual.IsConnected() || strict.IsConnected() {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("the server is down; Create:", create(kv, "usual"))
	fmt.Println("without the buffer:", create(strictKV, "strict"))
	time.Sleep(2 * time.Second)
	s = start(port)
	_, asker := bucket(url)
	for !usual.IsConnected() || !strict.IsConnected() {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(2 * time.Second)
	for _, key := range []string{"usual", "strict"} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		_, err := asker.Get(ctx, key)
		cancel()
		fmt.Printf("the server is back; key %s: %v\n", key, err)
	}
	s.Shutdown()
	s.WaitForShutdown()
}
GO
go mod tidy 2> /dev/null
out=$(go run . "$dir")
echo "$out"
for want in "Create: context deadline exceeded" "key usual: <nil>" "key strict: nats: key not found"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: the write that failed was made"
