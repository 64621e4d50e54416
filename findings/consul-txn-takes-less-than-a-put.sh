#!/usr/bin/env bash
# A Consul transaction refuses values that a plain write takes.
#
# Guess: a value may have 512 KiB, and a transaction is up to 64 such writes.
# What happens: the 512 KiB hold for the whole body of the transaction, with values in base64,
# which makes them a third longer. One value of 400,000 bytes is taken by a put, and refused in a
# transaction that has nothing else in it.
# For users of understudy: package fencingconsul writes by transactions: about 370 KiB of values in all.
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
try() { # BYTES: prints the code of a put, and of a transaction
	head -c "$1" /dev/zero | tr '\0' a > value
	printf '[{"KV": {"Verb": "set", "Key": "b", "Value": "%s"}}]' "$(base64 -w0 value)" > transaction
	for what in "kv/a value" "txn transaction"; do
		set -- $what
		curl -s -o answer -w '%{http_code} ' -X PUT --data-binary "@$2" "http://127.0.0.1:$port/v1/$1"
	done
}
small=$(try 380000) large=$(try 400000)
echo "380,000 bytes by put and by transaction: $small"
echo "400,000 bytes by put and by transaction: $large: $(cut -c 1-70 answer)"
[[ $small == "200 200 " && $large == "200 413 " ]] || { echo "CHANGED"; exit 1; }
echo "as found: the limit of a transaction is smaller"
