package raft

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// A damage is what is done to the directory of a node that is down, and what its start
// says then: nothing where all that it has acknowledged is still there.
type damage struct {
	name string
	do   func(t *testing.T, dir string)
	says string
}

func remove(names ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		for _, name := range names {
			paths, err := filepath.Glob(filepath.Join(dir, name))
			must(t, err)
			for _, path := range paths {
				must(t, os.RemoveAll(path))
			}
		}
	}
}

func cut(name string, size int64) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		for _, path := range glob(t, dir, name) {
			must(t, os.Truncate(path, size))
		}
	}
}

func scribble(name string, at, size int64) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteAt([]byte(strings.Repeat("scribble", int(size/8))), at)
		must(t, errors.Join(err, f.Close()))
	}
}

// keep has raft.db keep a value under a key, or none.
func keep(key, value []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		db, err := bbolt.Open(filepath.Join(dir, "raft.db"), 0o600, nil)
		must(t, err)
		must(t, db.Update(func(tx *bbolt.Tx) error {
			if value == nil {
				return tx.Bucket([]byte("conf")).Delete(key)
			}
			return tx.Bucket([]byte("conf")).Put(key, value)
		}))
		must(t, db.Close())
	}
}

// lastEntry replaces the log's last entry.
func lastEntry(kind raft.LogType, data string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		bolt, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, "raft.db")})
		must(t, err)
		last, err := bolt.LastIndex()
		must(t, err)
		must(t, bolt.StoreLog(&raft.Log{Index: last, Term: 1, Type: kind, Data: []byte(data)}))
		must(t, bolt.Close())
	}
}

// swap puts in the parts of another directory.
func swap(from string, names ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		remove(names...)(t, dir)
		for _, name := range names {
			path := filepath.Join(from, name)
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				must(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(path)))
				continue
			}
			data, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		}
	}
}

func both(a, b func(*testing.T, string)) func(*testing.T, string) {
	return func(t *testing.T, dir string) { a(t, dir); b(t, dir) }
}

// olderParts puts back what was there before the last start, or in the midst of it.
func olderParts(older, running string) []damage {
	return []damage{
		{"the log older", swap(older, "raft.db"), "is older than node.json"},
		{"log and marker older", swap(older, "raft.db", "node.json"), "the snapshot"},
		{"the log older, of the same start", swap(running, "raft.db"), "is older than node.json"},
		{"the log one write older", oneWriteOlder, "is older than node.json"},
		{"log and marker older, of the same start", swap(running, "raft.db", "node.json"), "a snapshot up to entry"},
		{"log and snapshots older", swap(older, "raft.db", "snapshots"), "is older than node.json"},
		{"log and snapshots older, of the same start", swap(running, "raft.db", "snapshots"), "is older than node.json"},
		{"the snapshots older, of the same start", swap(running, "snapshots"), "nor in a snapshot"},
		{"the marker older", swap(older, "node.json"), ""},
		{"the marker older, of the same start", swap(running, "node.json"), ""},
		{"marker and snapshots older", swap(older, "node.json", "snapshots"), "nor in a snapshot"},
		{"all of it older", both(remove("*"), swap(older, "raft.db", "node.json", "snapshots")), ""}, // only the group can know: see TestOlderDirectoryIsRefused
		{"the snapshots older", swap(older, "snapshots"), "nor in a snapshot"},
	}
}

// halfRemoved is what a kill leaves while the library removes what is older than newest.
func halfRemoved(newest string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		for _, name := range listSnapshots(dir) {
			if name != newest {
				remove("snapshots/"+name+"/meta.json")(t, dir)
			}
		}
	}
}

// tornParts would have the library panic.
func tornParts() []damage {
	return []damage{
		{"the marker a device", func(t *testing.T, dir string) { // a pipe would be waited for
			must(t, os.Remove(filepath.Join(dir, "node.json")))
			must(t, os.Symlink(os.DevNull, filepath.Join(dir, "node.json")))
		}, "node.json is not a file"},
		{"the term torn", keep(termKey, []byte{1, 2}), "raft.db is damaged"},
		{"the vote torn", keep(votedKey, []byte{1, 2}), "raft.db is damaged"},
		{"an entry of the group's members torn", lastEntry(raft.LogConfiguration, "torn"), "raft.db is damaged"},
		{"a command torn", lastEntry(raft.LogCommand, `{"Format":1,"Comm`), "is not a command"},
		{"what it has heard of its peers torn", keep(heardKey, []byte(`{"Writes":{"a peer's":1`)), "what it says of the peers' directories is"},
		{"what it has heard of its peers null", keep(heardKey, []byte("null")), "what it says of the peers' directories is"},
		{"its vote lost", keep(votedKey, nil), "raft.db is damaged: it lacks LastVoteTerm"},
		{"an entry of no type", lastEntry(99, "{}"), "is of no type that there is"},
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	if len(found) == 0 {
		t.Fatalf("no %s in %s", pattern, dir)
	}
	slices.Sort(found)
	return found
}

// TestPartOfADirectoryIsRefused: what holds only a part of a node's state is refused by
// name, unchanged, and what holds all of it is not.
func TestPartOfADirectoryIsRefused(t *testing.T) {
	t.Parallel()
	eachDamage(t, func(t *testing.T, d damage, dir string) {
		before := contents(t, dir)
		opened, err := openDirectory(dir, "a", Config{}.logger())
		if d.says == "" {
			must(t, err)
			must(t, opened.close())
			return
		}
		if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), d.says) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("want ErrPermanent with %q and the directory, got %v", d.says, err)
		}
		if after := contents(t, dir); after != before {
			t.Error("the directory was changed")
		}
	})
}

// eachDamage does each damage to a directory of its own.
func eachDamage(t *testing.T, do func(t *testing.T, d damage, dir string)) {
	t.Helper()
	ours, older, running, legacy := grownDirectory(t, "a")
	theirs, _, _, _ := grownDirectory(t, "a")
	newest := newestSnapshot(t, ours)
	for _, dir := range []string{ours, older, running} {
		if noted, is := writes(t, dir); noted != is {
			t.Errorf("node.json says that raft.db was written %d times, and it was %d times", noted, is)
		}
	}
	for _, d := range append(append(olderParts(older, running), tornParts()...), []damage{
		{"nothing", func(*testing.T, string) {}, ""},
		{"all of it lost", remove("*"), ""},
		{"the lock file lost", remove("lock"), ""},
		{"the lock file foreign", swap(theirs, "lock"), ""},
		{"a snapshot half written", func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, "snapshots/9-9-9.tmp"), 0o700)) }, ""},
		{"the log lost", remove("raft.db"), "raft.db, with this node's votes, is missing"},
		{"log and marker lost", remove("raft.db", "node.json"), "raft.db, with this node's votes, is missing"},
		{"log and snapshots lost", remove("raft.db", "snapshots"), "raft.db, with this node's votes, is missing"},
		{"the log empty", cut("raft.db", 0), "raft.db, with this node's votes, is empty"},
		{"the log of 100 bytes", cut("raft.db", 100), "raft.db is damaged"},
		{"the log of three pages", cut("raft.db", 12288), "raft.db is cut short"},
		{"the log's first pages scribbled on", scribble("raft.db", 0, 8192), "raft.db is damaged"},
		{"the log's other pages scribbled on", scribble("raft.db", 8192, 65536), "raft.db is damaged"},
		{"the log of a program without a marker", swap(legacy, "raft.db"), "is older than node.json"},
		{"the log foreign", swap(theirs, "raft.db"), "raft.db is from another directory than node.json"},
		{"log and marker foreign", swap(theirs, "raft.db", "node.json"), "belongs to group"},
		{"the owner's key lost", keep(ownerKey, nil), ""}, // node.json has it
		{"the owner's key foreign", keep(ownerKey, []byte("b")), `belongs to node "b"`},
		{"the record lost", keep(recordKey, nil), "is older than node.json"},
		{"the record torn", keep(recordKey, []byte(`{"Direc`)), "its record of the directory is"},
		{"the snapshots lost", remove("snapshots"), "nor in a snapshot"},
		{"the newest snapshot lost", remove("snapshots/" + newest), "nor in a snapshot"},
		{"an older snapshot half removed", halfRemoved(newest), ""},
		{"the newest snapshot without its meta.json", remove("snapshots/" + newest + "/meta.json"), "nor in a snapshot"},
		{"every snapshot's meta.json torn", cut("snapshots/*/meta.json", 10), "meta.json is damaged"},
		{"the newest snapshot's meta.json torn", cut("snapshots/"+newest+"/meta.json", 10), "meta.json is damaged"},
		{"the newest snapshot torn", cut("snapshots/"+newest+"/state.bin", 10), "nor in a snapshot"},
		{"the snapshots foreign", swap(theirs, "snapshots"), "belongs to group"},
		{"the marker lost", remove("node.json"), "node.json is missing"},
		{"the marker empty", cut("node.json", 0), "node.json is damaged"},
		{"the marker torn", cut("node.json", 20), "node.json is damaged"},
		{"the marker foreign", swap(theirs, "node.json"), "another directory than node.json"},
		{"a newer program's marker", func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "node.json"), []byte(`{"Format":2,"ID":"a","Directory":"x"}`), 0o600))
		}, "format 2"},
		{"before there were markers", both(remove("*"), swap(legacy, "raft.db", "snapshots")), ""},
		{"before there were markers, the log lost", both(remove("*"), swap(legacy, "snapshots")), "raft.db, with this node's votes, is missing"},
		{"before there were markers, the snapshots lost", both(remove("*"), swap(legacy, "raft.db")), "nor in a snapshot"},
	}...) {
		t.Run(d.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a")
			must(t, os.CopyFS(dir, os.DirFS(ours)))
			d.do(t, dir)
			do(t, d, dir)
		})
	}
}

// oneWriteOlder puts back a raft.db that lacks the last entry, and nothing else.
func oneWriteOlder(t *testing.T, dir string) {
	d, err := openDirectory(dir, "a", Config{}.logger())
	must(t, err)
	before := t.TempDir()
	must(t, os.CopyFS(before, os.DirFS(dir)))
	last, err := d.bolt.LastIndex()
	must(t, err)
	must(t, d.bolt.StoreLog(&raft.Log{Index: last + 1, Term: 9}))
	must(t, d.close())
	swap(before, "raft.db")(t, dir)
}

// copyLiving copies the directory of a node that runs, in a moment in which it writes nothing.
func copyLiving(t testing.TB, n *node, to string) {
	t.Helper()
	eventually(t, "a moment without a write", func() bool {
		must(t, os.RemoveAll(to))
		before := n.dir.bolt.writes()
		if os.CopyFS(to, os.DirFS(n.config.Dir)) != nil || n.dir.bolt.writes() != before {
			return false
		}
		_, _, is, err := readLog(to) // one may have been written, and not counted yet
		return err == nil && is == before
	})
}

// writes returns how often raft.db was written as node.json has it, and as it is.
func writes(t *testing.T, dir string) (noted, is uint64) {
	t.Helper()
	m, err := readMarker(dir)
	must(t, err)
	_, _, is, err = readLog(dir)
	must(t, err)
	return m.Writes, is
}

func newestSnapshot(t *testing.T, dir string) (name string) {
	t.Helper()
	files, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	must(t, err)
	list, err := files.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("%d snapshots, %v", len(list), err)
	}
	return list[0].ID
}

// contents tells two states of a directory apart.
func contents(t *testing.T, dir string) string {
	t.Helper()
	all := sha256.New()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "lock" {
			return err
		}
		data, err := os.ReadFile(path)
		_, _ = fmt.Fprintln(all, path, string(data)) // a hash takes everything
		return err
	}))
	return hex.EncodeToString(all.Sum(nil))
}

// TestLostVotesAreNotForgotten: a node that lost its log and kept its snapshots does not
// come back beside one that was away, or what both others had acknowledged would be lost.
func TestLostVotesAreNotForgotten(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, func(c *Config) { c.snapshots = snapshots{threshold: 16, trailing: 4, interval: 10 * time.Millisecond} }).start()
	s := register(t, g.lockers[0], "s")
	eventually(t, "snapshots", func() bool {
		_ = s.Beat(timeout(t, 5*time.Second))
		return g.nodes[0].dir.read().Kept > 0 && g.nodes[2].dir.read().Kept > 0
	})
	g.stop(2) // stays behind
	eventually(t, "a raised floor", func() bool { return g.lockers[0].Raise(timeout(t, 5*time.Second), 1_000_000) == nil })
	g.stop(0)
	g.stop(1)
	must(t, os.Remove(filepath.Join(g.configs[0].Dir, "raft.db")))
	g.start(2)
	if _, err := open(timeout(t, 5*time.Second), g.configs[0]); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "raft.db") {
		t.Fatalf("want an error that names what is missing, got %v", err)
	}
	g.start(1)
	eventually(t, "a beat", func() bool {
		return s.Beat(timeout(t, 5*time.Second)) == nil || g.lockers[1].Raise(timeout(t, 5*time.Second), 1) == nil
	})
	v, err := g.nodes[1].Look(timeout(t, 5*time.Second), ledger.Mark{}, "r")
	must(t, err)
	if v.Standings[0].Floor < 1_000_000 {
		t.Errorf("the floor is %d", v.Standings[0].Floor)
	}
}

// TestNothingIsMadeAtAnothersAddress: a node that cannot listen has written nothing.
func TestNothingIsMadeAtAnothersAddress(t *testing.T) {
	g := newGroup(t, 1, nil)
	c := g.configs[0]
	taken, err := net.Listen("tcp", c.Peers[0].Address)
	must(t, err)
	defer taken.Close()
	if _, err := open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "cannot listen on "+c.Peers[0].Address) {
		t.Errorf("at an address that is taken the node starts with %v", err)
	}
	if _, err := os.Stat(c.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its directory is there: %v", err)
	}
}

// TestDirectoryThatCannotBeMade is told with the setting that names it.
func TestDirectoryThatCannotBeMade(t *testing.T) {
	c := newGroup(t, 1, nil).configs[0]
	must(t, os.WriteFile(c.Dir, nil, 0o600))
	c.Dir = filepath.Join(c.Dir, "a")
	_, err := open(t.Context(), c)
	if want := fmt.Sprintf("Dir: %q cannot be made: mkdir ", c.Dir); err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestFirstStartThatIsCutShort: whatever a first start leaves of raft.db that ended before bbolt had made it, as on a full disk,
// the next start goes on from there, and a check finds nothing. Of a node that has begun, the same is refused.
func TestFirstStartThatIsCutShort(t *testing.T) {
	t.Parallel()
	for pages := range 4 {
		dir := t.TempDir()
		must(t, marker{ID: "a", Directory: "d"}.write(dir))
		must(t, os.WriteFile(filepath.Join(dir, logFile), make([]byte, pages*os.Getpagesize()+100), 0o600))
		c, err := Check(dir)
		if must(t, err); c.Damage != "" || !c.Empty {
			t.Errorf("with %d pages, a check finds %q", pages, c.Damage)
		}
		for range 2 {
			d, err := openDirectory(dir, "a", Config{}.logger())
			must(t, err)
			must(t, d.close())
		}
		begun, err := readMarker(dir)
		if must(t, err); begun.Starts != 2 || begun.Directory != "d" {
			t.Errorf("with %d pages: %+v after two starts", pages, begun)
		}
		must(t, os.Truncate(filepath.Join(dir, logFile), int64(pages*os.Getpagesize()+100)))
		if _, err := openDirectory(dir, "a", Config{}.logger()); !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("with %d pages of a node that has begun: %v, want ErrPermanent", pages, err)
		}
	}
}
