#!/usr/bin/env bash
# A minor release of Consul's client wants a patch release of Go.
#
# Guess: a client library names the Go minor version whose language it uses, such as 1.25.
# What happens: consul/api v1.34.4 asks for go 1.26, and v1.35.0 for a patch release of that. So
# whoever has an earlier patch of the same Go, and GOTOOLCHAIN=local, cannot build it.
# For users of understudy: go.mod excludes v1.35.0.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
wants() { # the version of Go that a version of the module asks for
	file=$({ go mod download -json "github.com/hashicorp/consul/api@$1" || true; } | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
	sed -n 's/^go //p' "$file"
}
before=$(wants v1.34.4) after=$(wants v1.35.0)
echo "consul/api v1.34.4: go $before"
echo "consul/api v1.35.0: go $after"
[[ $before == 1.26 && $after =~ ^1\.26\.[1-9][0-9]*$ ]] || { echo "CHANGED"; exit 1; }
echo "as found: v1.35.0 wants the patch release go$after"
