#!/usr/bin/env bash
# A program that imports hashicorp/raft has the package testing in it, and net/rpc.
#
# Guess: a library of the store's kind brings what it runs with, and its helpers for tests
# stand in _test.go files or in a package of their own.
# What happens: testing.go, with MakeCluster and the like, is a part of package raft, so
# testing is linked into every program; go-msgpack brings net/rpc, and that brings
# html/template and encoding/gob.
# For users of understudy: none of that runs; it is a part of the binary's size.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/hashicorp/raft@v1.7.3
cat > main.go <<'GO'
package main

import (
	"fmt"

	"github.com/hashicorp/raft"
)

func main() { fmt.Println(raft.DefaultConfig().MaxAppendEntries) }
GO
go mod tidy 2> /dev/null
go list -m github.com/hashicorp/raft
go run .
found=$(go list -deps -f '{{$p := .ImportPath}}{{range .Imports}}{{if or (eq . "testing") (eq . "net/rpc") (eq . "html/template")}}{{$p}} imports {{.}}{{"\n"}}{{end}}{{end}}' . | grep .)
echo "$found"
for want in "github.com/hashicorp/raft imports testing" "github.com/hashicorp/go-msgpack/v2/codec imports net/rpc" "net/rpc imports html/template"; do
	grep -qx "$want" <<< "$found" || { echo "CHANGED: not $want"; exit 1; }
done
echo "as found"
