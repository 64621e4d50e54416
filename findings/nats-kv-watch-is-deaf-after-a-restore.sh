#!/usr/bin/env bash
# After a NATS server was restored from a backup, a watch that lived through it shows nothing until revisions pass where they were.
#
# Guess: the watch makes its consumer anew when the server is back, so it shows the next write, as it does after any restart; or
# it ends with an error.
# What happens: it asks for what comes after the last revision that it has seen. The restored stream is behind that, and the server
# takes the request: it waits for that revision. Writes in between reach new watches and Get, and not this one, without an error.
# For users of understudy: its backend reads the object when it has heard nothing for a quarter of the ttl, whatever the watch shows.
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

func check(err error) { must(0, err) }

var live, saved = os.Args[1] + "/live", os.Args[1] + "/saved"

func start(port int) *server.Server {
	s := must(server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: live, NoLog: true, NoSigs: true}))
	s.Start()
	if !s.ReadyForConnections(60 * time.Second) {
		panic("the server is not ready")
	}
	return s
}

// restart stops the server, does what is to be done meanwhile, and starts it.
func restart(s *server.Server, meanwhile func()) *server.Server {
	port := s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	meanwhile()
	return start(port)
}

func within(d time.Duration) context.Context {
	ctx, _ := context.WithTimeout(context.Background(), d)
	return ctx
}

// put writes once the server takes it, and returns the revision.
func put(kv jetstream.KeyValue, value string) uint64 {
	for {
		revision, err := kv.Put(within(2*time.Second), "holder", []byte(value))
		if err == nil {
			return revision
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// heard is the value that the watch shows last, in the given time; "": none.
func heard(w jetstream.KeyWatcher, d time.Duration) (last string) {
	for end := time.After(d); ; {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return "(the watch has ended)"
			}
			if e != nil {
				last = fmt.Sprintf("%s, revision %d", e.Value(), e.Revision())
			}
		case <-end:
			return last
		}
	}
}

func main() {
	fmt.Println("nats-server", server.VERSION, "nats.go", nats.Version)
	s := start(-1)
	nc := must(nats.Connect(s.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond)))
	js := must(jetstream.New(nc))
	kv := must(js.CreateKeyValue(within(20*time.Second), jetstream.KeyValueConfig{Bucket: "locks"}))
	put(kv, "a")
	s = restart(s, func() { check(os.CopyFS(saved, os.DirFS(live))) })
	for range 20 {
		put(kv, "b")
	}
	w := must(kv.Watch(context.Background(), "holder"))
	fmt.Println("the watch shows:", heard(w, 2*time.Second))

	s = restart(s, func() {})
	revision := put(kv, "c")
	fmt.Printf("after a restart c is written as revision %d; the watch shows: %s\n", revision, heard(w, 45*time.Second))

	s = restart(s, func() {
		check(os.RemoveAll(live))
		check(os.CopyFS(live, os.DirFS(saved)))
	})
	revision = put(kv, "d")
	fmt.Printf("after a restore d is written as revision %d; the watch shows: %q\n", revision, heard(w, 60*time.Second))
	another := must(kv.Watch(context.Background(), "holder"))
	fmt.Println("another watch, begun now, shows:", heard(another, 2*time.Second))
	for revision < 22 {
		revision = put(kv, "e")
	}
	fmt.Printf("e is written up to revision %d; the watch shows: %q\n", revision, heard(w, 5*time.Second))
	revision = put(kv, "f")
	fmt.Printf("f is written as revision %d; the watch shows: %q\n", revision, heard(w, 45*time.Second))
	s.Shutdown()
	s.WaitForShutdown()
}
GO
go mod tidy 2> /dev/null
out=$(go run . "$dir")
echo "$out"
for want in "the watch shows: c, revision 22" 'after a restore d is written as revision 2; the watch shows: ""' "begun now, shows: d, revision 2" 'up to revision 22; the watch shows: ""' 'the watch shows: "f, revision 23"'; do
	grep -qF "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: the watch was deaf until the revisions passed where it was"
