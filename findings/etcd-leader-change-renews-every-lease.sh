#!/usr/bin/env bash
# A change of etcd's leader gives every lease its whole time again, also those of the dead.
#
# Guess: a lease that nobody keeps alive ends its ttl after the last keepalive, or after the longer pause of an
# election. A planned move of the leader takes milliseconds, so it changes nothing.
# What happens: the new leader does not know what is left, and begins to count anew. A lease of 5 s whose holder is dead was
# alive after six moves in 12 s, with 5 s left at each: members that are restarted one after another, or an
# unsteady network, keep a dead holder's lock for as long as they go on. etcd's checkpoints of leases
# come every five minutes, so they help longer ones only.
# For users of understudy: an active's promise is a record that beats, and is watched by the standbys' own clocks. Only
# the tidying up of records rests on leases.
set -euo pipefail
dir=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -tool go.etcd.io/etcd/server/v3 -require go.etcd.io/etcd/server/v3@v3.7.3 -require go.etcd.io/etcd/client/v3@v3.7.3
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := must(clientv3.New(clientv3.Config{Endpoints: os.Args[1:], Logger: zap.NewNop()}))
	members := must(c.MemberList(ctx)).Members
	lease := must(c.Grant(ctx, 5)).ID
	must(c.Put(ctx, "role", "of a dead holder", clientv3.WithLease(lease)))
	granted := time.Now()
	for range 6 {
		time.Sleep(2 * time.Second)
		leader := must(c.Status(ctx, os.Args[1])).Leader
		var at, next string
		var to uint64
		for _, m := range members {
			if m.ID == leader {
				at = m.ClientURLs[0]
			} else {
				to, next = m.ID, m.Name
			}
		}
		l := must(clientv3.New(clientv3.Config{Endpoints: []string{at}, Logger: zap.NewNop()})) // it alone may move
		must(l.MoveLeader(ctx, to))
		l.Close()
		fmt.Printf("after %v, led by %s: %d s left\n", time.Since(granted).Round(time.Second), next, must(c.TimeToLive(ctx, lease)).TTL)
	}
	fmt.Println("keys of the lease of 5 s:", must(c.Get(ctx, "role")).Count)
	moved := time.Now()
	for must(c.Get(ctx, "role")).Count > 0 {
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Println("ended within 10 s of the last move:", time.Since(moved) < 10*time.Second)
}
GO
go mod tidy 2> /dev/null
CGO_ENABLED=0 go build -o etcd go.etcd.io/etcd/server/v3
go build -o finding .
./etcd --version | sed -n 1p
free() { # a port that nobody listens at
	local p
	while p=$((20000 + RANDOM % 10000)); (: < "/dev/tcp/127.0.0.1/$p") 2> /dev/null; do :; done
	echo "$p"
}
clients=() peers=() cluster=''
for i in 0 1 2; do
	clients+=("http://127.0.0.1:$(free)") peers+=("http://127.0.0.1:$(free)")
	cluster+="${cluster:+,}m$i=${peers[i]}"
done
for i in 0 1 2; do
	./etcd --name "m$i" --data-dir "data$i" --listen-client-urls "${clients[i]}" --advertise-client-urls "${clients[i]}" \
		--listen-peer-urls "${peers[i]}" --initial-advertise-peer-urls "${peers[i]}" --initial-cluster "$cluster" \
		--log-level fatal > "etcd$i.log" 2>&1 &
	servers+=($!)
done
out=$(./finding "${clients[@]}")
echo "$out"
grep -q "of 5 s: 1" <<< "$out" || { echo "CHANGED: the lease ended"; exit 1; }
grep -q "last move: true" <<< "$out" || { echo "CHANGED: the lease does not end"; exit 1; }
echo "as found: each change of the leader begins a lease's time anew"
