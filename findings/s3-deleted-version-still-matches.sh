#!/usr/bin/env bash
# In a bucket that keeps versions, versitygw lets a writer replace an object that is deleted, and refuses to create it.
#
# Guess: after a DELETE the object is gone, as a GET says. A PUT with If-Match on its last ETag fails, and one with
# If-None-Match: * makes it anew: so a lock is given back by deleting its object.
# What happens: both conditions look at the last version below the mark of the deletion. The holder who knows its ETag
# writes on, though nobody sees the object any more; who wants to create it is refused for as long as nobody did that.
# Without versions it is as guessed.
# For users of understudy: a role is never given back by deleting anything. It is an end that is written into the object.
set -euo pipefail
dir=$(mktemp -d)
server=
trap 'kill $server 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -tool github.com/versity/versitygw/cmd/versitygw -require github.com/versity/versitygw@v1.8.0
go mod tidy 2> /dev/null
CGO_ENABLED=0 go build -o versitygw github.com/versity/versitygw/cmd/versitygw
grep "versitygw v" go.mod
curl --version | cut -d" " -f1-2 | sed -n 1p
while p=$((20000 + RANDOM % 10000)); (: < "/dev/tcp/127.0.0.1/$p") 2> /dev/null; do :; done # a port that nobody listens at
mkdir -p data/plain data/kept versions
./versitygw --access root --secret root-secret --port "127.0.0.1:$p" --quiet posix --versioning-dir "$dir/versions" "$dir/data" > log 2>&1 &
server=$!
s3() { # METHOD KEY [curl's options]: the status
	local method=$1 key=$2
	shift 2
	curl -s -o answer -D head -w '%{http_code}' --aws-sigv4 aws:amz:us-east-1:s3 -u root:root-secret \
		-H x-amz-content-sha256:UNSIGNED-PAYLOAD -X "$method" "$@" "http://127.0.0.1:$p/$key"
}
for _ in {1..100}; do [ "$(s3 GET plain)" = 200 ] && break; sleep 0.1; done
printf '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>' > on
s3 PUT 'kept?versioning=' --data-binary @on > /dev/null
out=$(for bucket in plain kept; do
	s3 PUT $bucket/lock --data-binary first > /dev/null
	tag=$(tr -d '\r' < head | sed -n 's/^[Ee][Tt]ag: //p')
	echo "$bucket: DELETE $(s3 DELETE $bucket/lock), GET $(s3 GET $bucket/lock)," \
		"PUT if nothing is there $(s3 PUT $bucket/lock -H 'If-None-Match: *' --data-binary second)," \
		"PUT if it is the first $(s3 PUT $bucket/lock -H "If-Match: $tag" --data-binary third)"
done)
echo "$out"
grep -q "plain: .*nothing is there 200, .*first 412" <<< "$out" || { echo "CHANGED: without versions"; exit 1; }
grep -q "kept: .*GET 404, .*nothing is there 412, .*first 200" <<< "$out" || { echo "CHANGED: with versions"; exit 1; }
echo "as found: a deleted object can be replaced by its last holder, and made by nobody"
