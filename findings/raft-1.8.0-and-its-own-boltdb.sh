#!/usr/bin/env bash
# The newest hashicorp/raft and the newest release of its own store do not build together.
#
# Guess: raft v1.8.0 is a minor release, and raft-boltdb/v2 v2.3.1 is the same maker's store
# for it, so a program that uses both builds.
# What happens: raft v1.8.0 asks for go-metrics v0.7.0, which no longer has the package
# compat that raft-boltdb/v2 v2.3.1 imports. raft v1.7.3 beside it builds.
# For users of understudy: an embedder's `go get -u` chooses v1.8.0; see go.mod's exclude.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
cat > main.go <<'GO'
package main

import (
	"fmt"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

func main() {
	store, err := raftboltdb.NewBoltStore("x.db")
	var logs raft.LogStore = store
	fmt.Println("opened:", logs != nil, err)
}
GO
build() { # RAFT-VERSION METRICS-VERSION
	rm -f go.mod go.sum
	go mod init example.com/finding 2> /dev/null
	go mod edit -require "github.com/hashicorp/raft@$1" -require "github.com/hashicorp/raft-boltdb/v2@v2.3.1" ${2:+-require "github.com/hashicorp/go-metrics@$2"}
	go mod tidy 2>&1 && go run . 2>&1
}
echo "== raft v1.7.3, raft-boltdb v2.3.1, go-metrics v0.5.4"
old=$(build v1.7.3 v0.5.4) && echo "$old" | tail -1
echo "== raft v1.8.0, raft-boltdb v2.3.1"
if new=$(build v1.8.0); then
	echo "CHANGED: they build together now"
	exit 1
fi
echo "$new" | grep -v downloading
grep -q "opened: true <nil>" <<< "$old" && grep -q "does not contain package github.com/hashicorp/go-metrics/compat" <<< "$new" || { echo "CHANGED"; exit 1; }
echo "as found: v1.8.0 does not build with v2.3.1"
