#!/usr/bin/env bash
# In etcd the value of an absent key is neither equal to another nor unequal.
#
# Guess: an absent key has revision 0, version 0, lease 0 and no value, and comparisons go by that: so
# "value is not X" holds where there is no key, as "version is not 1" does.
# What happens: the three numbers do so, and each comparison of the value fails, "!=" as well. A
# transaction that is to go through unless the role is fenced, Compare(Value(role), "!=", "fenced"), is
# refused where nobody has written the role yet; with WithPrefix it is where no key is below it.
# For users of understudy: its transactions compare revisions alone; to exclude a value, two
# transactions are needed, or an Else that reads the key.
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
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := clientv3.New(clientv3.Config{Endpoints: os.Args[1:]})
	if err != nil {
		panic(err)
	}
	try := func(what string, cmp clientv3.Cmp) {
		r, err := c.Txn(ctx).If(cmp).Commit()
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: %t\n", what, r.Succeeded)
	}
	for _, key := range []string{"absent", "there"} {
		try(key+", revision is not 7", clientv3.Compare(clientv3.ModRevision(key), "!=", 7))
		try(key+", version is not 7", clientv3.Compare(clientv3.Version(key), "!=", 7))
		try(key+", lease is not 7", clientv3.Compare(clientv3.LeaseValue(key), "!=", 7))
		try(key+", value is not fenced", clientv3.Compare(clientv3.Value(key), "!=", "fenced"))
		try(key+", value is empty", clientv3.Compare(clientv3.Value(key), "=", ""))
		try(key+", no value below is fenced", clientv3.Compare(clientv3.Value(key), "!=", "fenced").WithPrefix())
		if _, err := c.Put(ctx, "there", ""); err != nil {
			panic(err)
		}
	}
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
	--initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" --log-level fatal > etcd.log 2>&1 &
server=$!
out=$(./finding "$client")
echo "$out"
answers=$(sed 's/.*: //' <<< "$out" | tr '\n' ' ')
[[ $answers == "true true true false false false true true true true true true " ]] || { echo "CHANGED: $answers"; exit 1; }
echo "as found: an absent key is not unequal"
