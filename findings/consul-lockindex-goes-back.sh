#!/usr/bin/env bash
# Consul's LockIndex goes back to 0 while the lock is held.
#
# Guess: LockIndex counts how often a key was acquired, and Consul names key, LockIndex and session
# together a sequencer. So it only rises while the key is there, and is a fencing token.
# What happens: a plain write of the key, which asks nobody for the lock, sets it to 0 and leaves the
# session on it. The holder holds on, and the next one acquires with 1, below what was given before.
# For users of understudy: its token is the ModifyIndex of the role's record, never the LockIndex.
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
session() { put session/create '{"LockDelay": "0s"}' | tr -d ' \n' | sed 's/.*"ID":"\([^"]*\)".*/\1/'; }
index() { curl -s "http://127.0.0.1:$port/v1/kv/role" | tr -d ' \n' | sed 's/.*"LockIndex":\([0-9]*\).*/\1/'; }
a=$(session) b=$(session)
for _ in 1 2 3; do
	echo "a acquires: $(put "kv/role?acquire=$a" a), LockIndex $(index)"
	echo "a releases: $(put "kv/role?release=$a" a), LockIndex $(index)"
done
echo "a acquires: $(put "kv/role?acquire=$a" a), LockIndex $(index)"
top=$(index)
echo "a plain write: $(put kv/role note), LockIndex $(index)"
held=$(put "kv/role?acquire=$b" b)
echo "b acquires: $held, as a holds it still"
echo "a releases: $(put "kv/role?release=$a" a), b acquires: $(put "kv/role?acquire=$b" b), LockIndex $(index)"
[[ $top == 4 && $held == false && $(index) == 1 ]] || { echo "CHANGED"; exit 1; }
echo "as found: the LockIndex was 4, and of the next holder it is 1"
