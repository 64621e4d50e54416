#!/usr/bin/env bash
# The numbers that ZooKeeper gives a lock's nodes begin again at 0, and their versions never move.
#
# Guess: the sequence number of a lock's node only rises below its parent; and what is written on
# fencing recommends the node's zxid or its version as the token.
# What happens: the number is counted in the parent. Where that is a container, as Curator makes
# it, ZooKeeper removes it when it has been empty for a while, and the next holder has the number
# 0 again. The version of an ephemeral node is 0 in every term. Only its czxid rises.
# For users of understudy: a backend on ZooKeeper makes its token of the czxid.
set -euo pipefail
dir=$(mktemp -d)
server=''
trap 'kill $server 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
go version
command -v java > /dev/null || { echo "needs java, as by apt-get install default-jre-headless"; exit 1; }
mkdir -p archives/partial root
apt-get -qq -o Dir::Cache::archives="$dir/archives" -o APT::Sandbox::User=root -o Debug::NoLocking=1 --no-install-recommends \
	--reinstall --download-only -y install zookeeper > /dev/null
for deb in archives/*.deb; do dpkg -x "$deb" root; done
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/go-zookeeper/zk@v1.0.4
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/go-zookeeper/zk"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// term takes a place in line, by a session of its own, and returns what gives it up.
func term() (end func()) {
	c, events, err := zk.Connect([]string{os.Args[1]}, 10*time.Second, zk.WithLogger(log.New(io.Discard, "", 0)))
	if err != nil {
		panic(err)
	}
	for e := range events {
		if e.State == zk.StateHasSession {
			break
		}
	}
	everybody := zk.WorldACL(zk.PermAll)
	if _, err := c.CreateContainer("/billing", nil, zk.FlagContainer, everybody); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		panic(err)
	}
	path := must(c.Create("/billing/lock-", nil, zk.FlagEphemeral|zk.FlagSequence, everybody))
	_, node, err := c.Get(path)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s version %d czxid %d\n", path, node.Version, node.Czxid)
	return func() {
		must(0, c.Delete(path, -1))
		c.Close()
	}
}

// swept waits until the container is gone.
func swept() {
	c, _, err := zk.Connect([]string{os.Args[1]}, 10*time.Second, zk.WithLogger(log.New(io.Discard, "", 0)))
	if err != nil {
		panic(err)
	}
	defer c.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if there, _, err := c.Exists("/billing"); err == nil && !there {
			fmt.Println("the empty container was removed")
			return
		}
		if time.Now().After(end) {
			fmt.Println("the empty container is still there")
			return
		}
	}
}

func main() {
	first := term()
	second := term()
	first()
	third := term()
	second()
	third()
	swept()
	term()()
}
GO
go mod tidy 2> /dev/null
go list -m github.com/go-zookeeper/zk
basename archives/zookeeper_*.deb
free() { # a port that nobody listens at
	local p
	while p=$((20000 + RANDOM % 10000)); (: < "/dev/tcp/127.0.0.1/$p") 2> /dev/null; do :; done
	echo "$p"
}
port=$(free)
printf '%s\n' "dataDir=$dir/data" "clientPort=$port" clientPortAddress=127.0.0.1 tickTime=1000 admin.enableServer=false > zoo.cfg
# ZooKeeper looks for empty containers once a minute; here once a second.
java -Xmx256m -Dznode.container.checkIntervalMs=1000 -cp "root/usr/share/java/*:/usr/share/java/*" org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg > server.log 2>&1 &
server=$!
out=$(go run . "127.0.0.1:$port")
echo "$out"
numbers=$(sed -n 's/.*lock-0*\([0-9]\) .*/\1/p' <<< "$out" | tr '\n' ' ')
[[ $numbers == "0 1 2 0 " && $(grep -c "version 0 " <<< "$out") == 4 ]] || { echo "CHANGED: numbers $numbers"; exit 1; }
sort -c -n -k 5 <(grep czxid <<< "$out") || { echo "CHANGED: the czxid does not rise"; exit 1; }
echo "as found: the fourth term has the number of the first"
