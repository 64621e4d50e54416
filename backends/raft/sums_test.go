package raft

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/lock"
)

// inLog opens raft.db as the library does, without waiting for the disk.
func inLog(t *testing.T, dir string, do func(*raftboltdb.BoltStore)) {
	t.Helper()
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, logFile), NoSync: true, BoltOptions: &bbolt.Options{NoFreelistSync: true}})
	must(t, err)
	do(bolt)
	must(t, bolt.Close())
}

// refusesDamage fails unless the directory is refused as damaged, by a start and by Check; and, where what is
// damaged is still needed, by Recover.
func refusesDamage(t *testing.T, dir string, needed bool, what string, args ...any) {
	t.Helper()
	d, err := openDirectory(dir, "a", slog.New(slog.DiscardHandler))
	if err == nil {
		must(t, d.close())
	}
	var told *partialError
	if !errors.As(err, &told) || !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), logFile+" is damaged") {
		t.Errorf(what+": a start came to %v, want that %s is damaged", append(args, err, logFile)...)
	}
	if c, err := Check(dir); err != nil || !strings.Contains(c.Damage, "is damaged") {
		t.Errorf(what+": Check says %q and %v", append(args, c.Damage, err)...)
	}
	if _, _, err := Recover(dir); needed && err == nil {
		t.Errorf(what+": Recover took it", args...)
	}
}

// TestOneBitOfTheLog: what an entry says is applied, and what raft.db says of terms and votes is what the
// node votes by. So one bit that is another is refused by name, whichever it is.
func TestOneBitOfTheLog(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, func(c *Config) { c.snapshots = snapshots{threshold: 16, trailing: 12, interval: 10 * time.Millisecond} })
	g.start()
	s := register(t, g.lockers[0], "a")
	eventually(t, "a snapshot, entries before its end and some after", func() bool {
		must(t, s.Beat(timeout(t, 5*time.Second)))
		first, _ := g.nodes[0].dir.bolt.FirstIndex() // an error is 0
		kept := g.nodes[0].dir.read().Kept
		return kept > 20 && first+4 < kept && kept+4 < g.nodes[0].raft.LastIndex()
	})
	g.stop(0)
	ours := g.configs[0].Dir
	dir := filepath.Join(t.TempDir(), "a")
	again := func() {
		must(t, os.RemoveAll(dir))
		must(t, os.CopyFS(dir, os.DirFS(ours)))
	}
	again()
	newest := readSnapshots(dir)[0].Index
	var entries []raft.Log
	values := map[string][]byte{}
	inLog(t, dir, func(bolt *raftboltdb.BoltStore) {
		first, err := bolt.FirstIndex()
		must(t, err)
		last, err := bolt.LastIndex()
		must(t, err)
		if first > newest || last <= newest {
			t.Fatalf("the log is %d to %d, and the snapshot ends at %d: want entries on both sides of that", first, last, newest)
		}
		for i := first; i <= last; i++ {
			var l raft.Log
			must(t, bolt.GetLog(i, &l))
			entries = append(entries, l)
		}
		for _, key := range [][]byte{termKey, votedKey, votedForKey} {
			v, err := bolt.Get(key)
			must(t, err)
			values[string(key)] = v
		}
	})
	for n, good := range entries {
		for at := n % 61; at < len(good.Data); at += 61 {
			bad := good
			bad.Data = bytes.Clone(good.Data)
			bad.Data[at] ^= 1 << (at % 8)
			again()
			inLog(t, dir, func(bolt *raftboltdb.BoltStore) { must(t, bolt.StoreLog(&bad)) })
			refusesDamage(t, dir, bad.Index > newest, "entry %d, %q", bad.Index, bad.Data[max(0, at-20):at+1])
		}
		bad := good
		bad.Term ^= 1
		again()
		inLog(t, dir, func(bolt *raftboltdb.BoltStore) { must(t, bolt.StoreLog(&bad)) })
		refusesDamage(t, dir, bad.Index > newest, "entry %d of term %d", bad.Index, bad.Term)
	}
	for key, good := range values {
		for at := range good {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			again()
			inLog(t, dir, func(bolt *raftboltdb.BoltStore) { must(t, bolt.Set([]byte(key), bad)) })
			refusesDamage(t, dir, false, "%s %q", key, bad)
		}
		again()
		keep([]byte(key), nil)(t, dir)
		keep([]byte(key[:4]+"\x01"+key[5:]), good)(t, dir)
		refusesDamage(t, dir, false, "the name of %s", key)
	}
}
