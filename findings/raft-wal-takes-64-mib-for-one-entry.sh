#!/usr/bin/env bash
# raft-wal takes 64 MiB of disk for one entry, and goes on writing when the disk is full.
#
# Guess: a log has the size of its entries and some KiB, as raft-boltdb's has; and on a full disk the
# next append fails, which is how one learns of it.
# What happens: each segment is allocated whole, 64 MiB, when it is begun: a role's peer with a handful
# of entries has a file of 64 MiB, and on a disk of 48 MiB none can start. And where the disk is
# full, appends go on until the segment is, so what fails first is all else on that disk.
# For users of understudy: its own Raft backend is on raft-boltdb; with raft-wal, count segments,
# not entries, and watch the disk itself.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/hashicorp/raft@v1.7.3 -require github.com/hashicorp/go-metrics@v0.5.4 -require github.com/hashicorp/raft-wal@v0.4.0
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

func main() {
	log, err := wal.Open(os.Args[1])
	if err != nil {
		fmt.Println("not opened:", err)
		return
	}
	defer log.Close()
	store := func(i uint64) error { return log.StoreLog(&raft.Log{Index: i, Term: 1, Data: make([]byte, 1000)}) }
	fmt.Println("one entry stored:", store(1))
	files, err := os.ReadDir(os.Args[1])
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: %d KiB on the disk\n", f.Name(), info.Sys().(*syscall.Stat_t).Blocks/2)
	}
	other, err := os.Create(os.Args[1] + "/other")
	if err != nil {
		panic(err)
	}
	for err == nil {
		_, err = other.Write(make([]byte, 1<<16))
	}
	for err = nil; err == nil; {
		_, err = other.Write(make([]byte, 1))
	}
	fmt.Println("another file:", err)
	i, err := uint64(2), error(nil)
	for ; i < 1000 && err == nil; i++ {
		err = store(i)
	}
	fmt.Println("entries stored since:", i-2, err)
}
GO
go mod tidy 2> /dev/null
go list -m github.com/hashicorp/raft-wal
go build -o finding .
cat > disks.sh <<'IN'
set -eu
mkdir small large
mount -t tmpfs -o size=48m finding small
mount -t tmpfs -o size=80m finding large
echo "a disk of 48 MiB:"
timeout 60 ./finding small
echo "a disk of 80 MiB:"
timeout 60 ./finding large
IN
out=$(unshare --mount --map-root-user bash disks.sh) # mounts of its own, which end with it
echo "$out"
for want in "not opened: .*no space" "wal: 6553[67] KiB" "another file: .*no space" "entries stored since: 998 <nil>"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: a segment is taken whole"
