#!/usr/bin/env bash
# Two compare-and-swaps of one index both succeed in Consul.
#
# Guess: "cas" writes only where the index is still the key's ModifyIndex, and each write gives it
# another. So of two with one index at most one succeeds.
# What happens: a write of the value that is there already succeeds and changes nothing, the
# index included. A beat by cas that always writes the same is invisible: no blocking query answers,
# and another client's cas with the index from before the beat succeeds, too.
# For users of understudy: each of its writes carries a number of its own (TestAnEqualValueMakesARevision).
set -euo pipefail
dir=$(mktemp -d)
server=''
trap 'kill $server 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -tool github.com/hashicorp/consul -require github.com/hashicorp/consul@v1.19.2
go mod tidy 2> /dev/null
CGO_ENABLED=0 go build -o consul github.com/hashicorp/consul # some minutes, where it was not built before
./consul version | sed -n 1p
free() { # a port that nobody listens at
	local p
	while p=$((20000 + RANDOM % 10000)); (: < "/dev/tcp/127.0.0.1/$p") 2> /dev/null; do :; done
	echo "$p"
}
port=$(free)
./consul agent -dev -bind 127.0.0.1 -http-port "$port" -dns-port -1 -grpc-port -1 -grpc-tls-port -1 -serf-wan-port -1 \
	-serf-lan-port "$(free)" -server-port "$(free)" -log-level error > consul.log 2>&1 &
server=$!
put() { curl -s -X PUT -d "$2" "http://127.0.0.1:$port/v1/$1"; } # PATH BODY
until [[ $(put kv/ready yes || true) == true ]]; do sleep 0.2; done
index() { curl -s "http://127.0.0.1:$port/v1/kv/role" | tr -d ' \n' | sed 's/.*"ModifyIndex":\([0-9]*\).*/\1/'; }
echo "the key is written: $(put kv/role alive)"
at=$(index)
one=$(put "kv/role?cas=$at" alive)
echo "the holder beats with cas=$at: $one, ModifyIndex $(index)"
two=$(put "kv/role?cas=$at" alive)
echo "and again with cas=$at: $two, ModifyIndex $(index)"
same=$(index)
other=$(put "kv/role?cas=$at" taken)
echo "somebody else with cas=$at, who saw no beat: $other, ModifyIndex $(index)"
[[ $one == true && $two == true && $same == "$at" && $other == true && $(index) != "$at" ]] || { echo "CHANGED"; exit 1; }
echo "as found: three succeeded with one index"
