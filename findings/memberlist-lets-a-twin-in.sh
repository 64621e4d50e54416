#!/usr/bin/env bash
# memberlist lets a second node of the same name join, and each of the two takes itself for the one.
#
# Guess: a node's name must be unique in the cluster, so Join fails for the second one, or it learns
# from its list of members that another has the name.
# What happens: Join succeeds. The others keep the first one; the second sees itself under that name
# in its own list, and is alone in that. It can be learned from a line of the log, or from a Conflict
# delegate, which has to be set.
# For users of understudy: a contender's ID is claimed in the store, in the transaction that registers,
# and a second one is refused there. A name in memberlist or serf is no such claim.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/hashicorp/memberlist@v0.7.0
cat > main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"log"
	"time"

	"github.com/hashicorp/memberlist"
)

type told chan string

func (t told) NotifyConflict(first, second *memberlist.Node) {
	select {
	case t <- first.Name:
	default:
	}
}

func start(name string, t told) *memberlist.Memberlist {
	c := memberlist.DefaultLocalConfig()
	c.Name, c.BindAddr, c.BindPort, c.AdvertisePort = name, "127.0.0.1", 0, 0
	c.Logger = log.New(io.Discard, "", 0)
	if t != nil {
		c.Conflict = t
	}
	m, err := memberlist.Create(c)
	if err != nil {
		panic(err)
	}
	return m
}

func main() {
	conflicts := make(told, 1)
	seed, first, second := start("seed", conflicts), start("billing", nil), start("billing", nil)
	names := map[string]string{}
	for i, m := range []*memberlist.Memberlist{seed, first, second} {
		names[m.LocalNode().Address()] = []string{"the seed", "the first", "the second"}[i]
	}
	for _, m := range []*memberlist.Memberlist{first, second} {
		n, err := m.Join([]string{seed.LocalNode().Address()})
		fmt.Printf("%s joins as billing: %d, %v\n", names[m.LocalNode().Address()], n, err)
	}
	fmt.Println("the seed's delegate is told of a conflict over", <-conflicts)
	time.Sleep(3 * time.Second)
	for _, m := range []*memberlist.Memberlist{seed, first, second} {
		for _, n := range m.Members() {
			if n.Name == "billing" {
				fmt.Println("billing, as", names[m.LocalNode().Address()], "sees it, is", names[n.Address()], "among", m.NumMembers())
			}
		}
	}
	for _, m := range []*memberlist.Memberlist{second, first, seed} {
		if err := m.Shutdown(); err != nil {
			panic(err)
		}
	}
}
GO
go mod tidy 2> /dev/null
go list -m github.com/hashicorp/memberlist
out=$(go run .)
echo "$out"
for want in "the second joins as billing: 1, <nil>" "as the seed sees it, is the first among 2" \
	"as the first sees it, is the first among 2" "as the second sees it, is the second among 2"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: both have the name"
