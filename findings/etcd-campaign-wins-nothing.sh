#!/usr/bin/env bash
# etcd's Election.Campaign succeeds for a contender whose lease is gone.
#
# Guess: Campaign blocks until it is elected, so nil means that its key is the first of the election.
# If its lease ends while it waits, it fails, as Mutex.Lock does in that case.
# What happens: it waits for the keys before its own, and does not look at its own again. Its lease
# is revoked, it waits on; the leader resigns, and Campaign returns nil. The election has no key at
# all, and the next contender leads beside it.
# For users of understudy: nothing to do, as an acquisition compares its session's record in the same
# transaction. A program on Campaign compares Election.Key so before its work begins.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require go.etcd.io/etcd/client/v3@v3.7.3 -require go.etcd.io/etcd/server/v3@v3.7.3
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	fmt.Println("etcd", version.Version)
	c := embed.NewConfig()
	c.Dir, c.LogLevel = os.Args[1]+"/etcd", "fatal"
	local := []url.URL{*must(url.Parse("http://127.0.0.1:0"))}
	c.ListenClientUrls, c.ListenPeerUrls = local, local
	server := must(embed.StartEtcd(c))
	defer server.Close()
	<-server.Server.ReadyNotify()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := must(clientv3.New(clientv3.Config{Endpoints: []string{server.Clients[0].Addr().String()}, Logger: zap.NewNop()}))
	defer client.Close()
	keys := func() int64 { return must(client.Get(ctx, "billing/", clientv3.WithPrefix())).Count }
	contender := func() (*concurrency.Session, *concurrency.Election) {
		s := must(concurrency.NewSession(client))
		return s, concurrency.NewElection(s, "billing")
	}

	_, first := contender()
	if err := first.Campaign(ctx, "first"); err != nil {
		panic(err)
	}
	session, second := contender()
	won := make(chan error, 1)
	go func() { won <- second.Campaign(ctx, "second") }()
	for keys() < 2 {
		time.Sleep(20 * time.Millisecond)
	}
	must(client.Revoke(ctx, session.Lease()))
	<-session.Done()
	select {
	case err := <-won:
		fmt.Println("the lease of the second is revoked; Campaign ends:", err)
	case <-time.After(3 * time.Second):
		fmt.Println("the lease of the second is revoked; 3 s later Campaign still waits")
	}
	if err := first.Resign(ctx); err != nil {
		panic(err)
	}
	fmt.Println("the first resigns; Campaign of the second:", <-won)
	fmt.Println("keys in the election:", keys())
	_, third := contender()
	fmt.Println("Campaign of a third:", third.Campaign(ctx, "third"))
}
GO
go mod tidy 2> /dev/null
out=$(go run . "$dir")
echo "$out"
for want in "Campaign still waits" "Campaign of the second: <nil>" "keys in the election: 0" "Campaign of a third: <nil>"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: it won without a key"
