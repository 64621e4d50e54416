#!/usr/bin/env bash
# An etcd that is out of space lets a leader stay, and no other one begin.
#
# Guess: at the quota puts fail, and all else goes on: leases too, as they hardly take space. So a
# standby takes over where the leader's record was written before; or else nothing works, and
# the leader's lease ends as well.
# What happens: keepalives and revocations succeed, and each grant is refused, even when all was
# deleted, compacted and defragmented, until somebody disarms the alarm. So the leader leads on as if
# nothing was, and no standby that needs a lease can follow it. A transaction is refused by
# the puts in it, whether they are done or not.
# For users of understudy: its beats are writes, so the active ends as well; docs/etcd.md says what to do.
set -euo pipefail
dir=$(mktemp -d)
server=''
trap 'kill $server 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
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
	"strings"
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
	leader := must(c.Grant(ctx, 5)).ID
	must(c.Put(ctx, "role", "leader", clientv3.WithLease(leader)))
	big := strings.Repeat("x", 500_000)
	for {
		_, err := c.Put(ctx, "big", big)
		if err != nil {
			fmt.Println("puts until:", err)
			break
		}
		must(c.KeepAliveOnce(ctx, leader))
	}
	for range 8 {
		must(c.KeepAliveOnce(ctx, leader))
		time.Sleep(time.Second)
	}
	fmt.Println("8 s later, keys of the leader's lease of 5 s:", must(c.Get(ctx, "role")).Count)
	try := func() {
		_, err := c.Grant(ctx, 5)
		fmt.Println("grant:", err)
		_, err = c.Txn(ctx).If(clientv3.Compare(clientv3.Version("none"), ">", 0)).Then(clientv3.OpPut("none", "")).Commit()
		fmt.Println("transaction that puts nothing:", err)
	}
	try()
	at := must(c.Delete(ctx, "big")).Header.Revision
	must(c.Compact(ctx, at, clientv3.WithCompactPhysical()))
	must(c.Defragment(ctx, os.Args[1]))
	fmt.Println("all deleted; bytes of the store:", must(c.Status(ctx, os.Args[1])).DbSize)
	try()
	must(c.Revoke(ctx, leader))
	fmt.Println("revoked; the leader's keys:", must(c.Get(ctx, "role")).Count)
	must(c.AlarmDisarm(ctx, &clientv3.AlarmMember{}))
	fmt.Println("alarm disarmed")
	try()
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
client=http://127.0.0.1:$(free) peer=http://127.0.0.1:$(free)
./etcd --data-dir data --listen-client-urls "$client" --advertise-client-urls "$client" --listen-peer-urls "$peer" \
	--initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" --log-level fatal --quota-backend-bytes 16000000 > etcd.log 2>&1 &
server=$!
out=$(./finding "$client")
echo "$out"
grep -q "lease of 5 s: 1" <<< "$out" || { echo "CHANGED: the leader's lease ended"; exit 1; }
answers=$(grep -E '^(grant|transaction)' <<< "$out" | sed 's/.*: //' | tr '\n' ,)
full="database space exceeded"
[[ $answers == "$full,$full,$full,$full,<nil>,<nil>," ]] || { echo "CHANGED: $answers"; exit 1; }
echo "as found: the leader stays, and nobody can follow"
