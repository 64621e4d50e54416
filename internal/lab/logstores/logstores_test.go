package logstores

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

var (
	dir     = flag.String("dir", "", "where the stores write: a directory on the disk that counts; empty: a temporary one")
	commits = flag.Int("commits", 300, "how many commits are timed, of each store in turn")
	many    = flag.Int("many", 1_000_000, "how many entries are written while all but the last are deleted")
)

// A store keeps entries, and what a node knows of terms and votes.
type store interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// A kind is a way to keep them.
type kind struct {
	name  string
	open  func(dir string) (store, error)
	parts []string // patterns of files that may be lost alone
}

var kinds = []kind{
	{"raft-boltdb", openBolt, nil},
	{"raft-wal", openWAL, []string{"wal-meta.db", "*.wal"}},
}

// openBolt opens the file as backends/raft does.
func openBolt(dir string) (store, error) {
	return raftboltdb.New(raftboltdb.Options{
		Path:        filepath.Join(dir, "raft.db"),
		BoltOptions: &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true},
	})
}

// walStore closes its metadata with it, which the library leaves to the end of the process.
type walStore struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
}

func openWAL(dir string) (store, error) {
	meta := &metadb.BoltMetaDB{}
	entries, err := wal.Open(dir, wal.WithMetaStore(meta))
	return walStore{entries, meta}, err
}

func (s walStore) Close() error { return errors.Join(s.WAL.Close(), s.meta.Close()) }

// entryBytes is about what a beat has.
const entryBytes = 300

func entry(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(index)}, entryBytes)}
}

func place(t *testing.T) string {
	t.Helper()
	if *dir == "" {
		return t.TempDir()
	}
	path, err := os.MkdirTemp(*dir, "logstores-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(path)) })
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func opened(t *testing.T, k kind, path string) store {
	t.Helper()
	s, err := k.open(path)
	must(t, err)
	return s
}

// TestCommit times an entry and a vote, each in turn with what the disk takes for as many bytes and one sync.
func TestCommit(t *testing.T) {
	file, err := os.Create(filepath.Join(place(t), "floor"))
	must(t, err)
	defer func() { _ = file.Close() }()
	took := map[string][]time.Duration{}
	timed := func(what string, do func() error) {
		began := time.Now()
		must(t, do())
		took[what] = append(took[what], time.Since(began))
	}
	stores := map[string]store{}
	for _, k := range kinds {
		stores[k.name] = opened(t, k, place(t))
		defer func() { must(t, stores[k.name].Close()) }()
	}
	for i := uint64(1); i <= uint64(*commits); i++ {
		timed("one write and one sync", func() error {
			_, err := file.Write(entry(i).Data)
			return errors.Join(err, unix.Fdatasync(int(file.Fd())))
		})
		for _, k := range kinds {
			timed(k.name+": an entry", func() error { return stores[k.name].StoreLog(entry(i)) })
			timed(k.name+": a vote", func() error { return stores[k.name].SetUint64([]byte("LastVoteTerm"), i) })
		}
	}
	floor := quantile(took["one write and one sync"], 0.5)
	for what, all := range took {
		t.Logf("%-24s median %8v, p99 %8v, %.2f of the floor", what, quantile(all, 0.5), quantile(all, 0.99), float64(quantile(all, 0.5))/float64(floor))
	}
}

func quantile(all []time.Duration, q float64) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[int(float64(len(all)-1)*q)].Round(time.Microsecond)
}

// TestRestart times opening a store of 100,000 entries, and reading them all as a start does.
func TestRestart(t *testing.T) {
	const entries = 100_000
	for _, k := range kinds {
		path := place(t)
		s := opened(t, k, path)
		fill(t, s, 1, entries)
		must(t, s.Close())
		began := time.Now()
		s = opened(t, k, path)
		open := time.Since(began)
		for i := uint64(1); i <= entries; i++ {
			must(t, s.GetLog(i, new(raft.Log)))
		}
		t.Logf("%-12s open %v, all of %d entries read after %v, %d MiB", k.name, open.Round(time.Millisecond), entries, time.Since(began).Round(time.Millisecond), size(t, path)>>20)
		must(t, s.Close())
	}
}

// fill writes entries, 64 at a time.
func fill(t *testing.T, s store, first, last uint64) {
	t.Helper()
	for i := first; i <= last; i += 64 {
		var batch []*raft.Log
		for n := i; n < i+64 && n <= last; n++ {
			batch = append(batch, entry(n))
		}
		must(t, s.StoreLogs(batch))
	}
}

// size is what the files below a path take on disk.
func size(t *testing.T, path string) (sum int64) {
	t.Helper()
	must(t, filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		err = errors.Join(err, unix.Stat(name, &st))
		sum += st.Blocks * 512
		return err
	}))
	return sum
}

// TestSize writes many entries while all but the last 10,240 are deleted, as after snapshots.
func TestSize(t *testing.T) {
	const keep, every = 10_240, 8_192
	for _, k := range kinds {
		path := place(t)
		s := opened(t, k, path)
		most, began := int64(0), time.Now()
		for first := uint64(1); first < uint64(*many); first += every {
			fill(t, s, first, first+every-1)
			if oldest, err := s.FirstIndex(); err != nil || first+every-1 > oldest+keep {
				must(t, errors.Join(err, s.DeleteRange(oldest, first+every-1-keep)))
			}
			most = max(most, size(t, path))
		}
		t.Logf("%-12s %d entries in %v: %d MiB at the most, %d MiB in the end", k.name, *many, time.Since(began).Round(time.Second), most>>20, size(t, path)>>20)
		must(t, s.Close())
	}
}

// TestLost says what raft-wal makes of a part that is lost. raft-boltdb has one file.
func TestLost(t *testing.T) {
	for _, k := range kinds {
		for _, count := range []uint64{100, 300_000} {
			for _, pattern := range k.parts {
				path := place(t)
				s := opened(t, k, path)
				fill(t, s, 1, count)
				must(t, s.Close())
				names, err := filepath.Glob(filepath.Join(path, pattern))
				if err != nil || len(names) == 0 {
					t.Fatalf("%s has no %s", k.name, pattern)
				}
				must(t, os.Remove(slices.Max(names)))
				t.Logf("%-12s %6d entries, without %s: %s", k.name, count, filepath.Base(slices.Max(names)), remains(k, path, count))
			}
		}
	}
}

// remains says what is left of entries.
func remains(k kind, path string, count uint64) string {
	s, err := k.open(path)
	if err != nil {
		return fmt.Sprintf("refuses to open: %.160v", err)
	}
	defer func() { _ = s.Close() }()
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	unread := 0
	for i := max(first, 1); i <= last; i++ {
		var l raft.Log
		if s.GetLog(i, &l) != nil || !bytes.Equal(l.Data, entry(i).Data) {
			unread++
		}
	}
	if first == 1 && last == count && unread == 0 {
		return "opens, with all"
	}
	return fmt.Sprintf("opens, with %d to %d, of which %d cannot be read as they were written", first, last, unread)
}
