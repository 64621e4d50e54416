#!/usr/bin/env bash
# On a full disk every snapshot of hashicorp/raft that fails leaves its folder, and nothing removes it again.
#
# Guess: a snapshot that cannot be written is cancelled, and Cancel removes it. If not, the store removes it when it
# makes the next one, as it removes old ones.
# What happens: Cancel and Close first flush what was written. If that fails, as on a full disk, Cancel returns and leaves
# the folder, which ends in .tmp. Create leaves one, too. Neither another snapshot nor a new store on the same
# directory removes them: whoever opens a directory has to. A leader that sends a snapshot to such a node tries
# again several times a second.
# For users of understudy: it removes what is left, at once and at each start, in backends/raft.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir/disk" 2> /dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
go version
mkdir disk
mount -t tmpfs -o size=256k none disk || { echo "needs root, for a tmpfs that can be full"; exit 1; }
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/hashicorp/raft@v1.7.3
cat > main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/raft"
)

func store() *raft.FileSnapshotStore {
	s, err := raft.NewFileSnapshotStore("disk", 1, io.Discard)
	if err != nil {
		panic(err)
	}
	return s
}

// left are the folders that are there: of finished snapshots, and of others.
func left() (finished, others int) {
	all, err := os.ReadDir("disk/snapshots")
	if err != nil {
		panic(err)
	}
	for _, one := range all {
		if strings.HasSuffix(one.Name(), ".tmp") {
			others++
		} else {
			finished++
		}
	}
	return finished, others
}

// snapshot makes one of so many bytes.
func snapshot(index uint64, size int) error {
	sink, err := store().Create(1, index, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		return err
	}
	if _, err = sink.Write(make([]byte, size)); err == nil {
		return sink.Close()
	}
	fmt.Println("write:", err)
	return sink.Cancel()
}

func main() {
	for index := uint64(1); index <= 3; index++ {
		fmt.Println("cancel:", snapshot(index, 1<<20))
	}
	finished, others := left()
	fmt.Printf("three that failed: %d finished, %d others\n", finished, others)
	made := 0
	for index := uint64(4); made < 2 && index < 20; index++ {
		all, _ := os.ReadDir("disk/snapshots") // room for the next: what a person would delete
		for _, one := range all {
			if strings.HasSuffix(one.Name(), ".tmp") {
				_ = os.Truncate("disk/snapshots/"+one.Name()+"/state.bin", 0)
			}
		}
		if err := snapshot(index, 100); err != nil {
			fmt.Println(err)
			continue
		}
		made++
	}
	finished, others = left()
	fmt.Printf("after two more that succeeded, one of which is kept: %d finished, %d others\n", finished, others)
	if finished != 1 || others != 3 {
		fmt.Println("this has changed")
		os.Exit(1)
	}
}
GO
go mod tidy 2> /dev/null
grep "hashicorp/raft v" go.mod
go run .
