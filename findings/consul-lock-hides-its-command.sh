#!/usr/bin/env bash
# consul lock succeeds when its command fails, and has a shell read the command's arguments again.
#
# Guess: consul lock is used as flock(1) is: its exit code is the command's, and the command gets the
# arguments as they stand.
# What happens: the exit code is 0. With -child-exit-code it is 2, whichever the command's was. The
# arguments are joined with spaces and given to a shell, so sh -c 'exit 3' runs sh -c exit, which
# succeeds even with that flag. -shell=false leaves them as they are.
# For users of understudy: understudy run ends with the code of its command, and starts it without a shell.
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
export CONSUL_HTTP_ADDR=127.0.0.1:$port
# A session needs the node's own health check, which comes last.
until curl -sf -X PUT "http://$CONSUL_HTTP_ADDR/v1/session/create" > /dev/null; do sleep 0.2; done
codes=''
try() {
	local code=0
	timeout 30 ./consul lock "$@" > out 2>&1 || code=$?
	echo "consul lock $(printf '%q ' "$@"): $code"
	codes+="$code "
}
try billing false
try -child-exit-code billing false
try -child-exit-code billing sh -c 'exit 3'
try -child-exit-code -shell=false billing sh -c 'exit 3'
try billing touch 'one file'
echo "files of touch 'one file':" one* file*
[[ $codes == "0 2 0 2 0 " && -e one && -e file && ! -e "one file" ]] || { echo "CHANGED: $codes"; exit 1; }
echo "as found: neither the code nor the arguments are the command's"
