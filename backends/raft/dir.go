package raft

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/lock"
)

// A directory is a node's data on disk. One process at a time has it.
type directory struct {
	lock  *os.File
	bolt  *raftboltdb.BoltStore
	snaps *raft.FileSnapshotStore
}

// ownerKey is where a directory names its node: another's votes are not ours.
var ownerKey = []byte("Node")

// openDirectory opens the directory of the node id, and makes it where there is
// none.
func openDirectory(path, id string, log *slog.Logger) (d *directory, err error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d = new(directory)
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.lock, err = lockDirectory(path); err != nil {
		return d, err
	}
	d.bolt, err = raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(path, "raft.db"),
		BoltOptions: &bbolt.Options{
			Timeout: time.Second, Logger: boltLogger{log},
			FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, // less to write with every entry
		},
	})
	if err != nil {
		return d, fmt.Errorf("open the log in data directory %s: %w", path, err)
	}
	if err := d.own(path, id); err != nil {
		return d, err
	}
	d.snaps, err = raft.NewFileSnapshotStoreWithLogger(path, 2, raftLogger(log))
	if err != nil {
		return d, fmt.Errorf("open the snapshots in data directory %s: %w", path, err)
	}
	return d, nil
}

// own refuses a directory of another node.
func (d *directory) own(path, id string) error {
	owner, err := d.bolt.Get(ownerKey)
	switch {
	case errors.Is(err, raftboltdb.ErrKeyNotFound):
		return d.bolt.Set(ownerKey, []byte(id))
	case err != nil:
		return fmt.Errorf("read data directory %s: %w", path, err)
	case string(owner) != id:
		return fmt.Errorf("%w: data directory %s belongs to node %q, this is %q: give each node a directory of its own", lock.ErrPermanent, path, owner, id)
	}
	return nil
}

// lockDirectory takes the lock of a directory. The kernel frees it when the
// process is gone, however it went.
func lockDirectory(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid, _ := io.ReadAll(f) // for people only
		err = fmt.Errorf("data directory %s is in use by process %s: stop it, or give another directory (%w)", path, strings.TrimSpace(string(pid)), err)
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// used reports whether anything was ever written here.
func (d *directory) used() (bool, error) { return raft.HasExistingState(d.bolt, d.bolt, d.snaps) }

// elected reports whether this node has been part of a group that elected a
// leader: more than what a bootstrap alone writes.
func (d *directory) elected() (bool, error) {
	last, err := d.bolt.LastIndex()
	if err != nil {
		return false, err
	}
	term, err := d.bolt.GetUint64([]byte("CurrentTerm"))
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return false, err
	}
	list, err := d.snaps.List()
	return last >= 2 || term >= 2 || len(list) > 0, err
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
