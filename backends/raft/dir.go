package raft

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/understudy-ha/understudy/lock"
)

// A directory is a node's data on disk. One process at a time has it.
type directory struct {
	path   string
	log    *slog.Logger
	said   sayings
	lock   *os.File
	bolt   *counter
	snaps  kept
	opened atomic.Pointer[raft.SnapshotMeta] // the snapshot that was read last
	full   atomic.Bool                       // there was hardly any room when entries were written last
	lost   atomic.Bool                       // another file is in the place of raft.db, or none

	creates sync.Mutex // one snapshot begins at a time

	mu     sync.Mutex
	record record
}

var (
	// ownerKey is where a log names its node: another's votes are not ours.
	ownerKey = []byte("Node")
	// recordKey is where it says what belongs to it.
	recordKey = []byte("Directory")

	// heardKey is where it says how often the directories of the peers were written.
	heardKey = []byte("Heard")

	// termKey is where the Raft library keeps the term that a node knows.
	termKey = []byte("CurrentTerm")

	votedKey    = []byte("LastVoteTerm") // and the last one in which it voted
	votedForKey = []byte("LastVoteCand") // and for whom

	errNoKey = raftboltdb.ErrKeyNotFound
)

// openDirectory opens the directory of the node id, and makes it where there is
// none. Of what is made, node.json comes first and says last that all is there.
func openDirectory(path, id string, log *slog.Logger) (*directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, lock.InFields(fmt.Errorf("%q cannot be made: %w", path, err), "Dir")
	}
	d := &directory{path: path, log: log}
	if err := d.open(id, log); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *directory) open(id string, log *slog.Logger) (err error) {
	if d.lock, err = lockDirectory(d.path); err != nil {
		return err
	}
	m, r, err := inspect(d.path, id)
	if err != nil {
		return err
	}
	if m.ID == "" {
		made := marker{ID: id, Directory: rand.Text()}
		if err := made.write(d.path); err != nil {
			return fmt.Errorf("data directory %s: %w", d.path, err)
		}
		m.ID, m.Directory = made.ID, made.Directory
	}
	if unbegun(d.path, m) { // bbolt would refuse it
		if err := os.Remove(filepath.Join(d.path, logFile)); err != nil {
			return fmt.Errorf("data directory %s: %w", d.path, err)
		}
	}
	if err := d.openLog(log, m.Writes); err != nil {
		return err
	}
	files, err := raft.NewFileSnapshotStoreWithLogger(d.path, 2, raftLogger(log))
	if err != nil {
		return fmt.Errorf("open the snapshots in data directory %s: %w", d.path, err)
	}
	d.snaps, d.record = kept{files, d}, r
	if err := d.snaps.tidy(); err != nil {
		return fmt.Errorf("the snapshots in data directory %s: %w", d.path, err)
	}
	return d.begin(m)
}

// openLog opens raft.db, which inspect has read and found written so often.
func (d *directory) openLog(log *slog.Logger, writes uint64) (err error) {
	defer mendable(d.path, &err)()
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(d.path, logFile),
		BoltOptions: &bbolt.Options{
			Timeout: time.Second, Logger: boltLogger{log},
			FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, // less to write with every entry
		},
	})
	if err != nil {
		return fmt.Errorf("open the log in data directory %s: %w", d.path, err)
	}
	d.bolt = &counter{BoltStore: bolt, dir: d, marker: marker{Writes: writes}}
	if err := d.bolt.measure(); err != nil {
		return partial(d.path, "%s is damaged: %v", logFile, err)
	}
	return d.bolt.count(nil) // New makes the buckets, also where they are
}

// begin counts this start, first in raft.db, then in node.json, which counts every write
// from here on: a raft.db that says less is an older one.
func (d *directory) begin(m marker) error {
	err := d.bolt.Set(ownerKey, []byte(m.ID))
	if err == nil && !d.record.Sealed {
		err = d.bolt.sealAll()
	}
	if err == nil {
		err = d.update(func(r *record) { r.Directory, r.Starts, r.Sealed = m.Directory, r.Starts+1, true })
	}
	if err == nil {
		m.Starts = d.record.Starts
		err = d.bolt.follow(d.path, m)
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", d.path, err)
	}
	return nil
}

// cannot says in the log what the disk does not let this node do, such as a full one, and
// returns why.
func (d *directory) cannot(do string, err error) error {
	if err != nil && !errors.Is(err, bolterrors.ErrDatabaseNotOpen) && d.said.due(do) {
		d.log.Error("cannot "+do, "dir", d.path, "error", err)
	}
	return err
}

// can says that it does again.
func (d *directory) can(do string) {
	if d.said.over(do) {
		d.log.Info("can "+do+" again", "dir", d.path)
	}
}

// least is the room on a disk below which it is called full. raft.db has room of its own, where
// entries were cut off, and may go on for a while when its disk has none.
const least = 128 << 10

// look looks how much room there is, and reports whether that is enough. It comes with each write of
// entries, which waits for the disk.
func (d *directory) look() bool {
	left, err := room(d.path)
	full := err == nil && left < least
	if d.full.Swap(full); full {
		_ = d.cannot(takeRoles, fmt.Errorf("the disk has less than %d kB left", least>>10))
	} else {
		d.can(takeRoles)
	}
	return !full
}

const takeRoles = "take a role"

// update changes the record, on disk first.
func (d *directory) update(change func(*record)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.record
	change(&r)
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := d.bolt.Set(recordKey, data); err != nil {
		return err
	}
	d.record = r
	return nil
}

// read returns the record as it is now. Its map is never changed.
func (d *directory) read() record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.record
}

func (d *directory) group() string { return d.read().Group }

// adopt notes the group to which the directory belongs, once and for all.
func (d *directory) adopt(group string) error {
	if group == "" {
		return nil
	}
	if r := d.read(); r.Group != "" {
		return r.join(d.path, group) // nothing is written
	}
	var err error
	return errors.Join(d.update(func(r *record) { err = r.join(d.path, group) }), err)
}

// begins notes the founders of the group, and with them the group.
func (d *directory) begins(founders map[string]string) error {
	var err error
	return errors.Join(d.update(func(r *record) {
		if err = r.join(d.path, groupOf(founders)); err == nil {
			r.Founders = founders
		}
	}), err)
}

// join makes group the record's, unless it has another.
func (r *record) join(path, group string) error {
	if r.Group != "" && r.Group != group {
		return lock.Permanent(fmt.Errorf("data directory %s belongs to group %s, not to group %s: give the node the directory of its own group, or an empty one", path, r.Group, group))
	}
	r.Group = group
	return nil
}

// founder reports whether this very directory is one of those with which its group began.
func (d *directory) founder() bool {
	r := d.read()
	for _, directory := range r.Founders {
		if directory == r.Directory {
			return true
		}
	}
	return false
}

// used reports whether Raft was ever started here, or may be: not where a founder was cut
// short between the two writes of a beginning.
func (d *directory) used() (bool, error) {
	used, err := raft.HasExistingState(d.bolt, d.bolt, d.snaps)
	if err != nil || !used || !d.founder() {
		return used, err
	}
	last, err := d.bolt.LastIndex()
	elected, err2 := d.elected()
	return last > 0 || elected, errors.Join(err, err2)
}

// elected reports whether this node has been part of a group that elected a
// leader: more than what a bootstrap alone writes.
func (d *directory) elected() (bool, error) {
	last, err := d.bolt.LastIndex()
	if err != nil {
		return false, err
	}
	term, err := d.bolt.GetUint64(termKey)
	if err != nil && !errors.Is(err, errNoKey) {
		return false, err
	}
	if last >= 2 || term >= 2 { // the snapshots may be gone
		return true, nil
	}
	list, err := d.snaps.List()
	return len(list) > 0, err
}

func (d *directory) close() error {
	var errs []error
	if d.bolt != nil {
		errs = append(errs, d.bolt.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}
