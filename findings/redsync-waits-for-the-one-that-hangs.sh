#!/usr/bin/env bash
# With redsync and go-redis one Redis of three that hangs is enough to keep everybody from the lock.
#
# Guess: Redlock takes the lock on a majority and gives each server a small part of the expiry to
# answer (redsync: a twentieth), so one of three that hangs costs that and no more.
# What happens: redsync gives each request such a context, and go-redis heeds no context while it
# reads, unless ContextTimeoutEnabled is set: it waits for its ReadTimeout, more than once. Then the
# expiry of 4 s has passed, and the lock, granted by two, counts as not taken; so it is at each try.
# Where the server is dead instead of hung, its connection is refused and all is well.
# For users of understudy: a backend's calls end with their context while its server is silent; the
# suite has cases for it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
mkdir -p archives/partial root
apt-get -qq -o Dir::Cache::archives="$dir/archives" -o APT::Sandbox::User=root -o Debug::NoLocking=1 --no-install-recommends \
	--reinstall --download-only -y install redis-server redis-tools libjemalloc2 liblzf1 > /dev/null
for deb in archives/*.deb; do dpkg -x "$deb" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu
root/usr/bin/redis-server --version | cut -d ' ' -f 1-3
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/go-redsync/redsync/v4@v4.18.1 -require github.com/redis/go-redis/v9@v9.23.0
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredislib "github.com/redis/go-redis/v9"
)

func main() {
	var servers []*exec.Cmd
	defer func() {
		for _, s := range servers {
			s.Process.Kill()
			s.Wait()
		}
	}()
	var usual, heeding []redis.Pool
	for i := range 3 {
		socket := fmt.Sprint(os.Args[1], "/socket", i)
		s := exec.Command("root/usr/bin/redis-server", "--port", "0", "--unixsocket", socket, "--save", "")
		if err := s.Start(); err != nil {
			panic(err)
		}
		servers = append(servers, s)
		client := func(heeds bool) *goredislib.Client {
			return goredislib.NewClient(&goredislib.Options{Network: "unix", Addr: socket, ContextTimeoutEnabled: heeds})
		}
		one, two := client(false), client(true)
		for end := time.Now().Add(20 * time.Second); one.Ping(context.Background()).Err() != nil; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				panic("redis-server does not start")
			}
		}
		two.Ping(context.Background())
		usual, heeding = append(usual, goredis.NewPool(one)), append(heeding, goredis.NewPool(two))
	}
	try := func(what string, pools []redis.Pool) {
		m := redsync.New(pools...).NewMutex("lock of "+what, redsync.WithExpiry(4*time.Second))
		began := time.Now()
		err := m.TryLock()
		fmt.Printf("%s: taken: %t, after %s\n", what, err == nil, time.Since(began).Round(100*time.Millisecond))
	}
	try("three answer", usual)
	servers[2].Process.Signal(syscall.SIGSTOP)
	try("one hangs", usual)
	try("one hangs, ContextTimeoutEnabled", heeding)
	servers[2].Process.Kill()
	servers[2].Wait()
	try("one is dead", usual)
}
GO
go mod tidy 2> /dev/null
go list -m github.com/go-redsync/redsync/v4 github.com/redis/go-redis/v9
out=$(go run . "$dir")
echo "$out"
for want in "three answer: taken: true" "one hangs: taken: false" "ContextTimeoutEnabled: taken: true" "one is dead: taken: true"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: two of three are not enough"
