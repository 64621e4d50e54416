#!/usr/bin/env bash
# To renew a key of a NATS bucket that has a time to live makes it permanent.
#
# Guess: a key that is created with jetstream.KeyTTL has that time to live, and an Update with its
# revision is a renewal: the time begins again. At worst the first end stays.
# What happens: the time belongs to one message, not to the key. Update, which takes no such option,
# writes another message without it. So a lock that was beaten once outlives its holder for ever, and
# one that was never beaten goes as it should.
# For users of understudy: a backend on NATS renews by a message of its own with Nats-TTL and
# Nats-Expected-Last-Subject-Sequence, or has the whole bucket forget by its TTL.
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

func main() {
	fmt.Println("nats-server", server.VERSION, "nats.go", nats.Version)
	s := must(server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: os.Args[1] + "/js", NoLog: true, NoSigs: true}))
	s.Start()
	nc := must(nats.Connect(s.ClientURL()))
	js := must(jetstream.New(nc))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	kv := must(js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "locks", LimitMarkerTTL: time.Minute}))
	ttl := jetstream.KeyTTL(2 * time.Second)
	must(kv.Create(ctx, "silent", []byte("a"), ttl))
	beaten := must(kv.Create(ctx, "beaten", []byte("a"), ttl))
	sent := must(kv.Create(ctx, "sent", []byte("a"), ttl))
	must(kv.Update(ctx, "beaten", []byte("a"), beaten))
	again := nats.NewMsg("$KV.locks.sent")
	again.Data = []byte("a")
	must(js.PublishMsg(ctx, again, jetstream.WithMsgTTL(2*time.Second), jetstream.WithExpectLastSequencePerSubject(sent)))
	time.Sleep(8 * time.Second)
	for _, key := range []string{"silent", "beaten", "sent"} {
		_, err := kv.Get(ctx, key)
		fmt.Printf("created with 2 s; after 8 s, %s: %v\n", key, err)
	}
	nc.Close()
	s.Shutdown()
	s.WaitForShutdown()
}
GO
go mod tidy 2> /dev/null
out=$(go run . "$dir")
echo "$out"
for want in "silent: nats: key not found" "beaten: <nil>" "sent: nats: key not found"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: a renewed key has no time to live"
