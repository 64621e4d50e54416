#!/usr/bin/env bash
# etcd's own grpc-proxy answers no request for progress, and tells of revisions that do not exist.
#
# Guess: the proxy is stateless and speaks etcd's API, so a client need not know of it:
# RequestProgress is answered with the store's revision, and so is the message that a watch was made.
# What happens: RequestProgress succeeds, and no answer comes. A watch from a revision to come, as
# after a store was put back to an older state, is said to be made at that revision, which the
# store has not reached; etcd itself says the one that it has. So behind the proxy nothing shows
# that a watch is far ahead of its store.
# For users of understudy: its etcd backend takes the store's revision from reads and commits alone.
set -euo pipefail
dir=$(mktemp -d)
server='' proxy=''
trap 'kill $proxy $server 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
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

// next returns the revision that the next message of w says, or 0 if none comes for five seconds.
func next(w clientv3.WatchChan) int64 {
	select {
	case r := <-w:
		return r.Header.Revision
	case <-time.After(5 * time.Second):
		return 0
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i, name := range []string{"etcd", "proxy"} {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1+i]}, Logger: zap.NewNop()})
		if err != nil {
			panic(err)
		}
		put, err := client.Put(ctx, "key", name)
		for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			put, err = client.Put(ctx, "key", name)
		}
		if err != nil {
			panic(err)
		}
		now := put.Header.Revision
		fmt.Printf("%s: the store is at revision %d\n", name, now)
		w := client.Watch(ctx, "key", clientv3.WithCreatedNotify())
		fmt.Printf("%s: a watch from now on is made at %d\n", name, next(w))
		err = client.RequestProgress(ctx)
		fmt.Printf("%s: RequestProgress: %v, progress to %d\n", name, err, next(w))
		made := next(client.Watch(ctx, "key", clientv3.WithRev(now+50), clientv3.WithCreatedNotify()))
		fmt.Printf("%s: a watch from %d on is made at %d; ahead of the store: %t\n", name, now+50, made, made > now)
		client.Close()
	}
}
GO
go mod tidy 2> /dev/null
CGO_ENABLED=0 go build -o etcd go.etcd.io/etcd/server/v3
go build -o ask .
./etcd --version | sed -n 1p
free() { # a port that nobody listens at
	local p
	while p=$((20000 + RANDOM % 10000)); (: < "/dev/tcp/127.0.0.1/$p") 2> /dev/null; do :; done
	echo "$p"
}
client=127.0.0.1:$(free) peer=http://127.0.0.1:$(free) front=127.0.0.1:$(free)
./etcd --data-dir data --listen-client-urls "http://$client" --advertise-client-urls "http://$client" --listen-peer-urls "$peer" \
	--initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" --log-level fatal > etcd.log 2>&1 &
server=$!
./etcd grpc-proxy start --endpoints "$client" --listen-addr "$front" > proxy.log 2>&1 &
proxy=$!
out=$(./ask "$client" "$front")
echo "$out"
for want in "etcd: RequestProgress: <nil>, progress to [1-9]" "etcd: .*ahead of the store: false" \
	"proxy: RequestProgress: <nil>, progress to 0" "proxy: .*ahead of the store: true"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: behind the proxy there is no progress"
