#!/usr/bin/env bash
# Makes what is published, into $OUT: tarballs, packages, checksums, and a list of what is in them (SBOM).
# The same commit gives the same bytes: no file has a time of its own, a builder's name or a path.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC CGO_ENABLED=0
cd "$(dirname "$0")/../.."
VERSION=${VERSION:-$(git describe --tags --match 'v*' 2>/dev/null || echo "v0.0.0-g$(git rev-parse --short=12 HEAD)")}
export VERSION=${VERSION#v}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
OUT=${OUT:-dist}
PLATFORMS=${PLATFORMS:-linux/amd64 linux/arm64 darwin/arm64}
mkdir -p "$OUT"
rm -rf "${OUT:?}"/*
OUT=$(cd "$OUT" && pwd)
tool() { go tool -modfile=tools/release/go.mod "$@"; }

# What is the same on every system is made by this machine's own build.
common=$OUT/common
mkdir -p "$common/completions"
go build -trimpath -tags grpcnotrace -ldflags '-s -w' -o "$common/understudy" ./cmd/understudy
"$common/understudy" man "$common/man"
gzip -n9 "$common"/man/*.1
for shell in bash zsh fish; do
	"$common/understudy" completion $shell >"$common/completions/understudy.$shell"
done
cp -r LICENSE README.md "$common/"
mkdir "$common/systemd"
cp deploy/systemd/*.service deploy/systemd/sysusers.conf deploy/systemd/example.* "$common/systemd/"
rm "$common/understudy"

for platform in $PLATFORMS; do
	os=${platform%/*} arch=${platform#*/}
	name=understudy-$VERSION-$os-$arch
	mkdir "$OUT/$name"
	cp -r "$common/." "$OUT/$name/"
	GOOS=$os GOARCH=$arch go build -trimpath -tags grpcnotrace -ldflags '-s -w' -o "$OUT/$name/" ./cmd/understudy ./cmd/understudy-lab
	# What is in the program, by what Go wrote into it.
	tool cyclonedx-gomod bin -json -noserial -notimestamp -licenses=false -output "$OUT/$name.cdx.json" "$OUT/$name/understudy"
	tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w -C "$OUT" -cf - "$name" | gzip -n9 >"$OUT/$name.tar.gz"
	if [ "$os" = linux ]; then
		for kind in deb rpm; do
			FILES=$OUT/$name ARCH=$arch tool nfpm package -f deploy/release/nfpm.yaml -p $kind -t "$OUT/$name.$kind" >/dev/null
		done
	fi
	rm -r "${OUT:?}/$name"
done
rm -r "$common"
cd "$OUT"
sha256sum -- * >SHA256SUMS
ls -l
