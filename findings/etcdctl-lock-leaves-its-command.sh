#!/usr/bin/env bash
# etcdctl lock does not stop its command when the lock is lost.
#
# Guess: "etcdctl lock NAME COMMAND" runs the command while it holds the lock, as flock(1) and consul
# lock do: where the lease is gone, the command is stopped, or etcdctl ends with an error.
# What happens: neither. The lease is revoked, a second etcdctl gets the lock, and both commands
# work side by side. SIGTERM to the first etcdctl does not reach its command either, and in the
# end its exit code is 0.
# For users of understudy: understudy run stops the command before the lock can be another's.
set -euo pipefail
dir=$(mktemp -d)
server='' first=''
trap 'kill $first $server 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -tool go.etcd.io/etcd/server/v3 -require go.etcd.io/etcd/server/v3@v3.7.3 \
	-tool go.etcd.io/etcd/etcdctl/v3 -require go.etcd.io/etcd/etcdctl/v3@v3.7.3
go mod tidy 2> /dev/null
CGO_ENABLED=0 go build -o etcd go.etcd.io/etcd/server/v3
CGO_ENABLED=0 go build -o etcdctl go.etcd.io/etcd/etcdctl/v3
./etcdctl version | sed -n 1p
free() { # a port that nobody listens at
	local p
	while p=$((20000 + RANDOM % 10000)); (: < "/dev/tcp/127.0.0.1/$p") 2> /dev/null; do :; done
	echo "$p"
}
client=http://127.0.0.1:$(free) peer=http://127.0.0.1:$(free)
./etcd --data-dir data --listen-client-urls "$client" --advertise-client-urls "$client" --listen-peer-urls "$peer" \
	--initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" --log-level fatal > etcd.log 2>&1 &
server=$!
export ETCDCTL_ENDPOINTS=$client
until ./etcdctl endpoint health > /dev/null 2>&1; do sleep 0.1; done

# A command that works for a while, and says so. It ends by itself.
cat > work.sh <<'SH'
for i in $(seq 100); do echo "$i" >> "$1"; sleep 0.1; done
SH
lines() { if [[ -f $1 ]]; then wc -l < "$1"; else echo 0; fi; }
until_more() { # FILE LINES: waits for the file to have more lines, for half a minute at most
	for _ in $(seq 300); do
		(($(lines "$1") <= $2)) || return 0
		sleep 0.1
	done
	echo "CHANGED: no more than $2 lines in $1"
	exit 1
}
./etcdctl lock billing -- bash work.sh one > /dev/null &
first=$!
until_more one 0
./etcdctl lease revoke "$(./etcdctl lease list | tail -1)"
timeout 30 ./etcdctl lock billing -- bash -c 'echo "$(wc -l < one)" > before; sleep 2; echo "$(wc -l < one)" > after'
echo "lines of the first command, when the second began and 2 s later: $(cat before), $(cat after)"
kill -TERM "$first"
at=$(lines one)
until_more one $((at + 3))
echo "after SIGTERM to its etcdctl it works on"
code=0
wait "$first" || code=$?
echo "the first etcdctl ends with $code, after $(lines one) lines"
(($(cat after) > $(cat before) && $(lines one) == 100 && code == 0)) || { echo "CHANGED"; exit 1; }
echo "as found: two commands worked at once under one lock"
