#!/usr/bin/env bash
# In hashicorp/raft a follower whose disk was full gets its entries up to ten seconds after there is room.
#
# Guess: an entry that a follower could not store is sent again with the next heartbeat, so it is
# there a moment after its disk takes writes again. And what shows whether it follows is LastContact.
# What happens: the leader waits twice as long after each refusal, up to 10.24 s, and neither a
# heartbeat nor another entry ends that wait. LastContact is that of the heartbeats: it is fresh all
# the while. So with one peer of three dead, nothing is committed for seconds after the disk was mended.
# For users of understudy: a peer is healthy when its last index is the leader's, not when it hears
# from it; after a full disk, reckon with 10 s more.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/hashicorp/raft@v1.7.3 -require github.com/hashicorp/go-metrics@v0.5.4
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// A disk is a log's, and can be full.
type disk struct {
	*raft.InmemStore
	full atomic.Bool
}

func (d *disk) StoreLogs(logs []*raft.Log) error {
	if d.full.Load() {
		return syscall.ENOSPC
	}
	return d.InmemStore.StoreLogs(logs)
}

func (d *disk) StoreLog(log *raft.Log) error { return d.StoreLogs([]*raft.Log{log}) }

type machine struct{}

func (machine) Apply(*raft.Log) any                 { return nil }
func (machine) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (machine) Restore(io.ReadCloser) error         { return nil }

func main() {
	var group raft.Configuration
	var wires []*raft.InmemTransport
	for i := range 3 {
		addr, wire := raft.NewInmemTransport("")
		wires = append(wires, wire)
		group.Servers = append(group.Servers, raft.Server{ID: raft.ServerID(fmt.Sprint("n", i)), Address: addr})
	}
	var disks []*disk
	var peers []*raft.Raft
	for i, wire := range wires {
		for _, other := range wires {
			wire.Connect(other.LocalAddr(), other)
		}
		c := raft.DefaultConfig()
		c.LocalID, c.Logger = group.Servers[i].ID, hclog.NewNullLogger()
		if i > 0 { // n0 leads, on a slow machine as well
			c.HeartbeatTimeout, c.ElectionTimeout = 20*time.Second, 20*time.Second
		}
		d, snapshots := &disk{InmemStore: raft.NewInmemStore()}, raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(c, d, d, snapshots, wire, group); err != nil {
			panic(err)
		}
		r, err := raft.NewRaft(c, machine{}, d, d, snapshots, wire)
		if err != nil {
			panic(err)
		}
		disks, peers = append(disks, d), append(peers, r)
	}
	<-peers[0].LeaderCh()
	apply := func() {
		if err := peers[0].Apply([]byte("x"), 0).Error(); err != nil {
			panic(err)
		}
	}
	follows := func() bool { return peers[2].LastIndex() == peers[0].LastIndex() }
	apply()
	for !follows() {
		time.Sleep(time.Millisecond)
	}
	disks[2].full.Store(true)
	apply()
	time.Sleep(12 * time.Second)
	fmt.Println("full for 12 s; heard from the leader within a second:", time.Since(peers[2].LastContact()) < time.Second)
	disks[2].full.Store(false)
	began := time.Now()
	apply()
	for !follows() && time.Since(began) < time.Minute {
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	fmt.Printf("room again, and one more entry; follows after %s\n", took.Round(100*time.Millisecond))
	fmt.Println("more than 20 heartbeats:", took > 2*time.Second, "one leader all the time:", peers[0].State(), peers[0].CurrentTerm() == peers[2].CurrentTerm())
}
GO
go mod tidy 2> /dev/null
go list -m github.com/hashicorp/raft
go build -o finding .
out=$(timeout 100 ./finding)
echo "$out"
for want in "within a second: true" "more than 20 heartbeats: true one leader all the time: Leader true"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: the follower waits for its leader"
