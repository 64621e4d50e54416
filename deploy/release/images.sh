#!/usr/bin/env bash
# Makes images of what release.sh made in $OUT, understudy:VERSION-ARCH, with Docker Engine alone: nothing is
# pulled, and nothing is run while they are built. Prints what each costs to pull, and fails above 14 MB.
set -euo pipefail
cd "$(dirname "$0")/../.."
OUT=$(cd "${OUT:-dist}" && pwd)
IMAGE=${IMAGE:-understudy}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
for tarball in "$OUT"/understudy-*-linux-*.tar.gz; do
	name=$(basename "$tarball" .tar.gz)
	arch=${name##*-}
	version=${name#understudy-}
	version=${version%-linux-*}
	tar -C "$work" -xzf "$tarball" "$name/understudy"
	docker build -q --platform "linux/$arch" -t "$IMAGE:$version-$arch" -f deploy/release/Dockerfile "$work/$name" >/dev/null
	[ "$(docker inspect -f '{{.Os}}/{{.Architecture}}' "$IMAGE:$version-$arch")" = "linux/$arch" ]
	size=$(docker save "$IMAGE:$version-$arch" | gzip -9 | wc -c)
	echo "$IMAGE:$version-$arch: $size bytes compressed"
	[ "$size" -le 14000000 ]
done
