package raft

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/storebench"
)

// make raft-figures runs these. Each is measured in turns with what it stands beside.

// BenchmarkCommit is an entry of 300 bytes that a group of three commits, from its leader; beside its floor, the syncs that it needs one
// after the other on the same disk (bbolt's two of the leader, and then a follower's two); and beside a put of as many bytes
// to an etcd of three members there.
func BenchmarkCommit(b *testing.B) {
	g := newGroup(b, 3, func(c *Config) { c.Timing = defaultTiming }).start()
	leader, _ := g.leader()
	text := strings.Repeat("x", 300)
	entry, err := encode(ledger.Command{Op: ledger.Nothing, Role: text})
	must(b, err)
	c, err := servers.StartEtcd(timeout(b, time.Minute), b.TempDir(), 3, servers.Options{})
	must(b, err)
	b.Cleanup(c.Stop)
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Addresses(), Logger: zap.NewNop()})
	must(b, err)
	b.Cleanup(func() { _ = client.Close() })
	disk, err := os.Create(filepath.Join(b.TempDir(), "pages"))
	must(b, err)
	defer disk.Close()
	page := make([]byte, 1<<20)
	sync := func(at int64, n int) {
		_, err := disk.WriteAt(page[:n], at)
		must(b, err)
		must(b, unix.Fdatasync(int(disk.Fd())))
	}
	sync(0, len(page)) // what is overwritten needs no new blocks
	var ours, floor, theirs []time.Duration
	for b.Loop() {
		ours = append(ours, storebench.Timed(func() { must(b, g.nodes[leader].raft.Apply(entry, time.Second).Error()) }))
		floor = append(floor, storebench.Timed(func() {
			for range 2 {
				sync(8192, 3*4096)
				sync(0, 4096)
			}
		}))
		theirs = append(theirs, storebench.Timed(func() { _, err := client.Put(b.Context(), "r", text); must(b, err) }))
	}
	storebench.Ratio(b, ours, floor, "floor")
	storebench.Ratio(b, ours, theirs, "etcd")
}

// BenchmarkCatchUp is a node that was away while 100,000 entries were committed: from its start until it has applied all,
// once with a log that is cut as it is by default, so that it is sent a snapshot, and once with a log that reaches back.
// Beside it is the plain copy of those entries to the same disk, over a connection of the same kind.
func BenchmarkCatchUp(b *testing.B) {
	const missed = 100_000
	for name, cut := range map[string]snapshots{"snapshot": {}, "entries": {threshold: 1 << 40, trailing: 1 << 40, bytes: 1 << 40}} {
		b.Run(name, func(b *testing.B) {
			g := newGroup(b, 3, func(c *Config) { c.Timing, c.snapshots = defaultTiming, cut }).start()
			entry, err := encode(ledger.Command{Op: ledger.Nothing, Role: strings.Repeat("x", 300)})
			must(b, err)
			var ours, theirs []time.Duration
			for b.Loop() {
				g.stop(2)
				leader, _ := g.leader()
				var under []raft.ApplyFuture
				for range missed {
					under = append(under, g.nodes[leader].raft.Apply(entry, time.Minute))
				}
				for _, f := range under {
					must(b, f.Error())
				}
				last := g.nodes[leader].raft.AppliedIndex()
				ours = append(ours, storebench.Timed(func() {
					g.start(2)
					for g.nodes[2].raft.AppliedIndex() < last {
						time.Sleep(time.Millisecond) // the library tells nobody
					}
				}))
				theirs = append(theirs, storebench.Timed(func() { plainCopy(b, missed, entry) }))
			}
			storebench.Ratio(b, ours, theirs, "copy")
		})
	}
}

// plainCopy sends as many entries over a connection to who writes them into a file and syncs it.
func plainCopy(b *testing.B, n int, entry []byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		file, err := os.Create(filepath.Join(b.TempDir(), "copy"))
		if err == nil {
			_, err = io.Copy(file, conn)
		}
		if err == nil {
			err = file.Sync()
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	must(b, err)
	whole := bufio.NewWriter(conn)
	for range n {
		_, err := whole.Write(entry)
		must(b, err)
	}
	must(b, whole.Flush())
	must(b, conn.Close())
	must(b, <-done)
}
