#!/usr/bin/env bash
# The etcd client's Watch does not return while no server answers.
#
# Guess: Watch returns a channel, and no error, so it returns at once; what goes wrong comes by the
# channel. KeepAlive, which has the same shape, does so.
# What happens: it returns when a server has created the watch, or the context ends. A loop that
# sets up its watch and then selects between the watch, a timer and its beats does none of them
# while etcd is away: with a context without end, for as long as it is away.
# For users of understudy: its etcd backend calls Watch in goroutines of their own, under contexts that end.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require go.etcd.io/etcd/client/v3@v3.7.3
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	address := l.Addr().String()
	l.Close() // nobody is there
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, Logger: zap.NewNop()})
	if err != nil {
		panic(err)
	}
	defer client.Close()
	timed := func(what string, call func(context.Context)) {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		began := time.Now()
		call(ctx)
		took := time.Since(began)
		fmt.Printf("%s, with a context of 3 s, returned after %s; at once: %t\n", what, took.Round(time.Millisecond), took < time.Second)
	}
	timed("KeepAlive", func(ctx context.Context) {
		if _, err := client.KeepAlive(ctx, 1); err != nil {
			panic(err)
		}
	})
	timed("Watch", func(ctx context.Context) { client.Watch(ctx, "key") })
}
GO
go mod tidy 2> /dev/null
go list -m go.etcd.io/etcd/client/v3
out=$(go run .)
echo "$out"
for want in "KeepAlive.*at once: true" "Watch.*at once: false"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: Watch waits for a server"
