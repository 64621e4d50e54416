#!/usr/bin/env bash
# hashicorp/raft's files cannot be looked at without writing: the snapshots' store writes when it is opened.
#
# Guess: NewFileSnapshotStore and List read a directory, so a tool that inspects a stopped peer, its
# backup or a read-only mount of it uses them.
# What happens: opening makes the directory "snapshots" where there is none, and writes a file
# permTest in it and removes it. Where that is not allowed, no snapshot can be listed; where it is, a
# wrong path becomes a new, empty store, and "no snapshots" is the answer, not "no such directory".
# For users of understudy: its tools look for a peer's files before they open the snapshots.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/hashicorp/raft@v1.7.3 -require github.com/hashicorp/go-metrics@v0.5.4
cat > main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/raft"
)

func main() {
	if os.Args[1] == "make" {
		store, err := raft.NewFileSnapshotStore(os.Args[2], 1, io.Discard)
		if err != nil {
			panic(err)
		}
		sink, err := store.Create(1, 10, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			panic(err)
		}
		if err := sink.Close(); err != nil {
			panic(err)
		}
		return
	}
	store, err := raft.NewFileSnapshotStore(os.Args[2], 1, io.Discard)
	if err != nil {
		fmt.Println("not opened:", err)
		return
	}
	list, err := store.List()
	fmt.Println("snapshots:", len(list), err)
}
GO
go mod tidy 2> /dev/null
go list -m github.com/hashicorp/raft
go build -o finding .
mkdir peer mistyped
./finding make "$dir/peer"
echo "a peer's directory, $(./finding list "$dir/peer")"
touch -d @0 peer/snapshots
./finding list "$dir/peer" > /dev/null
written=$(($(stat -c %Y peer/snapshots) > 0))
echo "listed again; its directory was written to: $written"
wrong=$(./finding list "$dir/mistyped")
made=$(ls mistyped)
echo "a wrong directory, $wrong; and now has: $made"
chmod -R a+rX peer
chmod a-w peer/snapshots
reader=()
((EUID != 0)) || reader=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
refused=$("${reader[@]}" ./finding list "$dir/peer")
echo "one who may read the peer's directory, $refused"
chmod u+w peer/snapshots
[[ $written == 1 && $wrong == "snapshots: 0 <nil>" && $made == snapshots && $refused == "not opened: "*permission* ]] || { echo "CHANGED"; exit 1; }
echo "as found: to look is to write"
