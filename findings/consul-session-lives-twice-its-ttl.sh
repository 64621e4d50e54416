#!/usr/bin/env bash
# A Consul session with a ttl of 10 s lives for 20 s after its last renewal, each time.
#
# Guess: the documentation promises at least the ttl and at most twice as much, so one that is not renewed is gone soon
# after its ttl while the server has nothing else to do, and longer only where a leader changes.
# What happens: the server multiplies every ttl by two (SessionTTLMultiplier in v1.19.2). Alone on an idle server each of
# three sessions is there for 20 s. So a lock of the Go client with its default ttl of 15 s is another's only after 30 s, the
# lock-delay of 15 s, and up to 5 s between two tries, though nothing was slow.
# For users of understudy: a session's ttl only tidies up there; the promise in its record counts, and its witness ends it at once.
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
session() { curl -s -X PUT -d '{"TTL": "10s"}' "http://127.0.0.1:$port/v1/session/create" | tr -d ' \n{}"' | sed 's/ID://'; }
until [[ $(session) =~ ^[0-9a-f-]{36}$ ]]; do sleep 0.2; done
bad=''
for how in "never renewed" "renewed at once" "renewed after 6 s"; do
	id=$(session)
	case $how in
	*once) curl -s -X PUT "http://127.0.0.1:$port/v1/session/renew/$id" > /dev/null ;;
	*6*) sleep 6; curl -s -X PUT "http://127.0.0.1:$port/v1/session/renew/$id" > /dev/null ;;
	esac
	began=$(date +%s%N)
	until [[ $(curl -s "http://127.0.0.1:$port/v1/session/info/$id") == "[]" ]]; do sleep 0.1; done
	took=$((($(date +%s%N) - began) / 1000000))
	echo "a session with a ttl of 10 s, $how, is gone after $took ms"
	((took >= 18000 && took <= 25000)) || bad=$took
done
[[ -z $bad ]] || { echo "CHANGED: one was gone after $bad ms"; exit 1; }
echo "as found: it lives twice as long as its ttl"
