package raft

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/understudy-ha/understudy/internal/lack"
	"github.com/understudy-ha/understudy/internal/smallfile"
	"github.com/understudy-ha/understudy/lock"
)

// A node's state has three parts: raft.db with its votes and the log, snapshots/ with what
// was cut off from the log, and node.json, which says that the others must be there. A node
// that lost one of them would vote as if it had never voted, or would miss what it has
// acknowledged. So a directory in which a part is missing, empty, torn, older than another
// or from elsewhere is refused by name, before anything is written to it.
//
// What the node by itself cannot see is a whole directory put back as it once was. Peers that
// have heard of more writes there refuse it (twin.go); where none of them is there, nobody
// does.
const (
	logFile    = "raft.db"
	markerFile = "node.json"
	snapFolder = "snapshots"
	metaFile   = "meta.json" // of a snapshot
	stateFile  = "state.bin" // and its content

	unfinishedSuffix = ".tmp" // of a snapshot's folder, as the library has it
)

// A marker is what node.json holds.
type marker struct {
	Format    int
	ID        string // of the node
	Directory string // drawn when the directory was made
	Starts    uint64 // how often the node was started here; 0: the directory is being made
	Writes    uint64 // how often raft.db was written, at least
}

// A record is what raft.db says of the directory as a whole.
type record struct {
	Directory string            // as in the marker
	Starts    uint64            // as in the marker, or one more
	Group     string            `json:",omitempty"` // to which the directory belongs
	Founders  map[string]string `json:",omitempty"` // by ID, the directories with which the group began
	Addresses map[string]string `json:",omitempty"` // of the members, as the log has them; never changed
	Moved     map[string]string `json:",omitempty"` // addresses from the log that replace those in the list; never changed
	Begun     uint64            `json:",omitempty"` // the index of the last snapshot that was begun
	Kept      uint64            `json:",omitempty"` // the index of the last one that was finished: at least so much is known here
	Metas     map[string]string `json:",omitempty"` // by snapshot, the sum of its meta.json; never changed
	Sealed    bool              `json:",omitempty"` // all that raft.db says of terms and votes is there, with sums
}

// A partialError is about a directory that cannot be used as it is.
type partialError struct{ path, what string }

// partialCure stands word for word in docs/raft.md, too.
const partialCure = "put no copy of it back: an older one has forgotten votes. Where a majority of the group is well without this node, " +
	"remove the directory and start the node: it joins anew. Where none is, take what the other directories hold to a new group: understudy raft recover"

func (e *partialError) Error() string {
	return fmt.Sprintf("data directory %s: %s; it holds only a part of this node's state: %s", e.path, e.what, partialCure)
}

func partial(path, what string, args ...any) error {
	return lock.Permanent(&partialError{path, fmt.Sprintf(what, args...)})
}

// readMarker returns the zero marker where there is none.
func readMarker(path string) (m marker, err error) {
	name := filepath.Join(path, markerFile)
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() { // to read a pipe would wait for its writer
		return m, partial(path, "%s is not a file", markerFile)
	}
	data, err := smallfile.Read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, nil
	case err != nil:
		return m, fmt.Errorf("data directory: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil || m.ID == "" || m.Directory == "" {
		return m, partial(path, "%s is damaged: %q", markerFile, data[:min(len(data), 40)])
	}
	if m.Format > 1 {
		return m, lock.Permanent(fmt.Errorf("data directory %s: %s has format %d, this program reads 1: run a newer one", path, markerFile, m.Format))
	}
	return m, nil
}

// sector is what a disk writes whole, or not at all.
const sector = 512

// encode returns what node.json holds: one line, filled up so that the next one, with a
// greater number, replaces it in place.
func (m marker) encode() []byte {
	m.Format = 1
	data, _ := json.Marshal(m) // of strings and numbers
	fill := sector - 1 - len(data)%sector
	return append(append(data, bytes.Repeat([]byte{' '}, fill)...), '\n')
}

// write replaces node.json, and makes the entries of the whole directory durable.
func (m marker) write(path string) error {
	name := filepath.Join(path, markerFile)
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(m.encode())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// inspect reads every part of a directory, writes nothing, and refuses what does not
// belong together, or to the node id, "" for any. It returns the marker, with the number of the
// last write to raft.db, and the record, zero where there is none yet.
func inspect(path, id string) (m marker, r record, err error) {
	if m, err = readMarker(path); err != nil {
		return m, r, err
	}
	id = cmp.Or(id, m.ID)
	if m.ID != "" && m.ID != id {
		return m, r, another(path, m.ID, id)
	}
	least := m.Writes
	m.Writes = 1 // of a raft.db that is made
	info, err := os.Stat(filepath.Join(path, logFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, r, fmt.Errorf("data directory: %w", err)
	}
	if err != nil || info.Size() == 0 || unbegun(path, m) { // an empty one is left by a start that was cut short
		what := "is missing"
		if err == nil {
			what = "is empty"
		}
		if m.Starts > 0 || len(listSnapshots(path)) > 0 {
			return m, r, partial(path, "%s, with this node's votes, %s", logFile, what)
		}
		return m, r, nil
	}
	owner, r, writes, err := readLog(path)
	m.Writes = writes
	switch {
	case errors.Is(err, errNoLog) && m.Starts == 0 && len(listSnapshots(path)) == 0:
		return m, r, nil
	case errors.Is(err, errNoLog):
		return m, r, partial(path, "%s, with this node's votes, is blank", logFile)
	case err != nil:
		return m, r, err
	case owner != "" && owner != cmp.Or(id, owner):
		return m, r, another(path, owner, id)
	case m.ID == "" && r.Directory != "":
		return m, r, partial(path, "%s is missing", markerFile)
	case m.Starts > 0 && r.Directory == "", r.Directory != "" && r.Directory == m.Directory && r.Starts < m.Starts:
		return m, r, partial(path, "%s, with this node's votes, is older than %s", logFile, markerFile)
	case r.Directory != "" && r.Directory != m.Directory:
		return m, r, partial(path, "%s is from another directory than %s", logFile, markerFile)
	case writes < least:
		return m, r, partial(path, "%s, with this node's votes, is older than %s: it was written %d times, and had been %d times", logFile, markerFile, writes, least)
	}
	r, err = addUp(path, r)
	return m, r, err
}

// unbegun reports whether raft.db is what a first start left that ended before bbolt had made the file, as on a full disk. bbolt
// begins with four pages, so nothing was ever committed to it.
func unbegun(path string, m marker) bool {
	info, err := os.Stat(filepath.Join(path, logFile))
	return err == nil && m.ID != "" && m.Starts == 0 && info.Size() < 4*int64(os.Getpagesize()) && len(listSnapshots(path)) == 0
}

func another(path, owner, id string) error {
	return lock.Permanent(fmt.Errorf("data directory %s belongs to node %q, this is %q: give each node a directory of its own", path, owner, id))
}

// errNoLog means that raft.db was made, and that nothing was ever written to it.
var errNoLog = errors.New("it is blank")

// listSnapshots are the names of the snapshots that are there, whole or not.
func listSnapshots(path string) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(path, snapFolder)) // without the folder there are none
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), unfinishedSuffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// mendable makes a panic of a library, and a fault in mapped memory, an error that names
// raft.db and the cure.
func mendable(path string, err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = partial(path, "%s is damaged: %v", logFile, p)
		}
	}
}

// readLog reads the whole of raft.db, so that a damaged one is refused here: later, damage
// would end the process without a name, as a fault in mapped memory or a panic of bbolt.
func readLog(path string) (owner string, r record, writes uint64, err error) {
	name := filepath.Join(path, logFile)
	defer mendable(path, &err)()
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return "", r, 0, fmt.Errorf("data directory %s: another process has %s open: stop it, or give another directory (%w)", path, logFile, syscall.EAGAIN)
	}
	if lack.Is(err) { // the file itself may be whole
		return "", r, 0, fmt.Errorf("data directory %s: %s: %w", path, logFile, err)
	}
	if err != nil {
		return "", r, 0, partial(path, "%s is damaged: %v", logFile, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.View(func(tx *bbolt.Tx) error {
		writes = uint64(tx.ID()) // of the last transaction that was committed
		if info, err := os.Stat(name); err != nil || info.Size() < tx.Size() {
			return partial(path, "%s is cut short: it has less than its %d bytes", logFile, tx.Size())
		}
		if _, err := lookAt(tx, name); err != nil {
			return unfollowed(path, err)
		}
		sum := 0
		err := tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				for _, c := range v {
					sum += int(c) // touches every page
				}
				return nil
			})
		})
		if tx.Bucket([]byte("logs")) == nil { // made, and not filled yet
			return errNoLog
		}
		if b := tx.Bucket([]byte("conf")); b != nil {
			owner = string(b.Get(ownerKey))
			if err := b.ForEach(known); err != nil {
				return partial(path, "%s is damaged: %v", logFile, err)
			}
			if data := b.Get(recordKey); data != nil && json.Unmarshal(data, &r) != nil {
				return partial(path, "%s is damaged: its record of the directory is %q", logFile, data)
			}
			if _, err := heardOf(b.Get(heardKey)); err != nil {
				return partial(path, "%s is damaged: what it says of the peers' directories is %v", logFile, err)
			}
		}
		return err
	})
	return owner, r, writes, err
}

// addUp refuses a log and snapshots that do not add up to what this node has acknowledged.
// Where no record was kept yet it believes what is there, and returns the record of that.
func addUp(path string, r record) (_ record, err error) {
	defer mendable(path, &err)()
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(path, logFile), BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: time.Second}})
	if err != nil {
		return r, partial(path, "%s is damaged: %v", logFile, err)
	}
	newest, snap, err := usable(path, r)
	if err != nil {
		return r, errors.Join(err, bolt.Close())
	}
	term, last, err := reach(path, bolt, r, snap.Index)
	if err := errors.Join(err, bolt.Close()); err != nil {
		return r, err
	}
	switch {
	case snap.Term > term:
		return r, partial(path, "%s, with this node's votes, knows terms up to %d, and the snapshot %s is of term %d", logFile, term, snap.ID, snap.Term)
	case newest > 0 && snap.ID == "": // the library does not start, even where the log has all
		return r, partial(path, "none of the snapshots in %s/ can be read", snapFolder)
	case r.Starts == 0:
		r.Begun, r.Kept = newest, snap.Index
	case newest > r.Begun:
		return r, partial(path, "a snapshot up to entry %d is newer than %s, which knows of none after %d", newest, logFile, r.Begun)
	case max(snap.Index, last) < r.Kept:
		return r, partial(path, "there was a snapshot up to entry %d, and what is left in %s/ and %s ends at %d", r.Kept, snapFolder, logFile, max(snap.Index, last))
	}
	return r, nil
}

// usable returns the index of the newest snapshot, and the newest that can be read, as
// Raft will choose it.
func usable(path string, r record) (newest uint64, snap raft.SnapshotMeta, err error) {
	names := listSnapshots(path)
	if len(names) == 0 {
		return 0, snap, nil
	}
	for _, name := range names {
		if err := r.checkMeta(path, name); err != nil {
			return 0, snap, err
		}
	}
	for _, one := range readSnapshots(path) {
		newest = max(newest, one.Index)
		if one.err != nil {
			continue
		}
		if other := one.image.Ledger.Identity; other != "" && r.Group != "" && other != r.Group {
			return newest, snap, partial(path, "the snapshot %s belongs to group %s, %s to group %s", one.ID, other, logFile, r.Group)
		}
		if snap.ID == "" {
			snap = one.SnapshotMeta
		}
	}
	return newest, snap, nil
}

// reach returns the term that this node knows, and the last entry of its log, which must
// go on from the snapshot without a gap.
func reach(path string, bolt *raftboltdb.BoltStore, r record, snapshot uint64) (term, last uint64, err error) {
	if term, err = termAt(bolt, r.Sealed); err != nil {
		return 0, 0, partial(path, "%s is damaged: %v", logFile, err)
	}
	if last, err = bolt.LastIndex(); err != nil {
		return 0, 0, err
	}
	for i := snapshot + 1; i <= last; i++ {
		var entry raft.Log
		err := entryAt(bolt, i, &entry)
		if err == nil {
			err = sound(entry)
		}
		switch {
		case errors.Is(err, raft.ErrLogNotFound):
			return 0, 0, partial(path, "entry %d is neither in %s nor in a snapshot in %s/, of which the last one that can be read ends at %d", i, logFile, snapFolder, snapshot)
		case err != nil:
			return 0, 0, partial(path, "%s is damaged: entry %d %v", logFile, i, err)
		case entry.Term > term:
			return 0, 0, partial(path, "%s is damaged: it knows terms up to %d, and entry %d is of term %d", logFile, term, i, entry.Term)
		}
	}
	for i := min(snapshot, last); i > 0; i-- { // others may be sent these
		var entry raft.Log
		switch err := entryAt(bolt, i, &entry); {
		case errors.Is(err, raft.ErrLogNotFound): // it was cut off
			return term, last, nil
		case err != nil:
			return 0, 0, partial(path, "%s is damaged: entry %d %v", logFile, i, err)
		}
	}
	return term, last, nil
}

// sound says what is wrong with an entry that the library, or the ledger, would not know.
func sound(l raft.Log) error {
	switch l.Type {
	case raft.LogCommand:
		var e entry
		if err := json.Unmarshal(l.Data, &e); err != nil && checkFormat("", l.Data) == nil {
			return fmt.Errorf("is not a command: %w", err)
		}
	case raft.LogConfiguration:
		raft.DecodeConfiguration(l.Data) // it panics
	case raft.LogNoop, raft.LogBarrier:
	default:
		return fmt.Errorf("is of no type that there is: %d", l.Type)
	}
	return nil
}
