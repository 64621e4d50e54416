#!/usr/bin/env bash
# A Consul lock that is given back by ending its session stays closed for 15 seconds.
#
# Guess: the lock-delay is for a holder that was lost, who may still be at work. One that destroys its
# session says that it is done, so the next one acquires at once; and a key that went with its session
# (Behavior delete) is a new key to the next.
# What happens: each end of a session counts alike. For 15 s acquire answers false, and a key that does
# not exist answers it too, while a plain write makes it. Nothing in the answer, nor in the key,
# tells of the delay. Only ?release first, or a LockDelay of the session's own, avoids it.
# For users of understudy: its sessions have a lock-delay of 1 ms (TestTheLockDelayIsShort); its promise
# is kept by its own record.
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
ask() { curl -s -X PUT -d "${2-}" "http://127.0.0.1:$port/v1/$1"; } # PATH BODY
session() { ask session/create "$1" | tr -d ' \n{}"' | sed 's/ID://'; }
until [[ $(session '{}') =~ ^[0-9a-f-]{36}$ ]]; do sleep 0.2; done
answers=''
try() { # WHAT PATH
	local answer
	answer=$(ask "$2" x)
	echo "$1: $answer"
	answers+="$answer "
}
next=$(session '{}')
one=$(session '{}')
try "one acquires" "kv/released?acquire=$one"
try "one releases" "kv/released?release=$one"
try "the next acquires" "kv/released?acquire=$next"
try "one acquires another" "kv/kept?acquire=$one"
try "one destroys its session" "session/destroy/$one"
try "the next acquires" "kv/kept?acquire=$next"
one=$(session '{"Behavior": "delete"}')
try "one acquires, to be deleted" "kv/deleted?acquire=$one"
try "one destroys its session" "session/destroy/$one"
echo "the key: $(curl -s -o answer -w '%{http_code}' "http://127.0.0.1:$port/v1/kv/deleted")"
try "the next acquires" "kv/deleted?acquire=$next"
try "a plain write that needs it absent" "kv/deleted?cas=0"
began=$SECONDS
until [[ $(ask "kv/kept?acquire=$next") == true ]] || ((SECONDS - began > 60)); do sleep 0.5; done
took=$((SECONDS - began))
echo "the next acquires after about $took s"
[[ $answers == "true true true true true false true true false true " ]] && ((took >= 10 && took <= 40)) || { echo "CHANGED: $answers"; exit 1; }
echo "as found: who ends its session keeps the others out"
