package raft

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// kept is the store of snapshots: the directory's record says which must be there.
type kept struct {
	*raft.FileSnapshotStore
	dir *directory
}

func (k kept) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, t raft.Transport) (raft.SnapshotSink, error) {
	if err := k.dir.update(func(r *record) { r.Begun = max(r.Begun, index) }); err != nil {
		return nil, err
	}
	sink, err := k.create(version, index, term, c, at, t)
	if err != nil {
		return nil, k.dir.cannot("keep a snapshot", err)
	}
	if err := own(filepath.Join(k.dir.path, snapFolder)); err != nil {
		return nil, errors.Join(err, sink.Cancel())
	}
	return &keptSink{SnapshotSink: sink, dir: k.dir, index: index}, nil
}

// create is the library's, which leaves what it has made of one that fails. Such remains are removed here and
// in keptSink: on a full disk there would be more with every try, of the leader's, too, which sends a snapshot until it is taken.
func (k kept) create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, t raft.Transport) (raft.SnapshotSink, error) {
	k.dir.creates.Lock()
	defer k.dir.creates.Unlock()
	before := unfinished(k.dir.path)
	sink, err := k.FileSnapshotStore.Create(version, index, term, c, at, t)
	if err == nil {
		return sink, nil
	}
	for _, name := range unfinished(k.dir.path) {
		if !slices.Contains(before, name) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(k.dir.path, snapFolder, name)))
		}
	}
	return nil, err
}

// unfinished are the names of the snapshots that are being made, and of what is left of such.
func unfinished(path string) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(path, snapFolder)) // without the folder there are none
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinishedSuffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// own makes snapshots, and their folder, the owner's alone: the library makes them for all to
// read, and they hold the values and what a contender says of itself.
func own(folder string) error {
	return filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was overtaken by newer ones, and removed
			return nil
		case err != nil:
			return err
		case e.IsDir():
			err = os.Chmod(path, 0o700)
		default:
			err = os.Chmod(path, 0o600)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// tidy removes what snapshots left that were cut short, and owns the others.
func (k kept) tidy() error {
	folder := filepath.Join(k.dir.path, snapFolder)
	var errs []error
	for _, name := range unfinished(k.dir.path) {
		errs = append(errs, os.RemoveAll(filepath.Join(folder, name)))
	}
	return errors.Join(append(errs, own(folder))...)
}

type keptSink struct {
	raft.SnapshotSink
	dir   *directory
	index uint64
	over  bool
}

func (k *keptSink) Cancel() error {
	k.over = true
	return errors.Join(k.SnapshotSink.Cancel(), k.remove())
}

// remove removes what is left of a snapshot that was not finished.
func (k *keptSink) remove() error {
	return os.RemoveAll(filepath.Join(k.dir.path, snapFolder, k.ID()+unfinishedSuffix))
}

// Close says that the snapshot must be there from now on, once it is: only then the log
// is cut.
func (k *keptSink) Close() error {
	if err := k.SnapshotSink.Close(); err != nil || k.over {
		return k.dir.cannot("keep a snapshot", errors.Join(err, k.remove()))
	}
	k.dir.can("keep a snapshot")
	k.over = true
	sum, err := sumOfMeta(k.dir.path, k.ID())
	if err != nil {
		return k.dir.cannot("keep a snapshot", err)
	}
	return k.dir.update(func(r *record) {
		r.Kept = max(r.Kept, k.index)
		metas := map[string]string{k.ID(): sum}
		for _, name := range listSnapshots(k.dir.path) {
			if sum := r.Metas[name]; sum != "" {
				metas[name] = sum
			}
		}
		r.Metas = metas
	})
}

// Open refuses a snapshot whose meta.json is damaged: others are sent what it says.
func (k kept) Open(name string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if err := k.dir.read().checkMeta(k.dir.path, name); err != nil {
		return nil, nil, k.dir.cannot("read a snapshot", err)
	}
	meta, data, err := k.FileSnapshotStore.Open(name)
	if err == nil {
		k.dir.opened.Store(meta)
	}
	return meta, data, err
}

// A stored snapshot is what the library has written of one.
type stored struct {
	raft.SnapshotMeta
	CRC []byte // of state.bin

	image image // what state.bin holds
	err   error // why that cannot be read
}

// readSnapshots reads the snapshots of a directory, the one first that Raft would choose. The
// library's own store would write there to find out whether it can.
func readSnapshots(path string) (all []stored) {
	for _, name := range listSnapshots(path) {
		folder := filepath.Join(path, snapFolder, name)
		var s stored
		data, err := os.ReadFile(filepath.Join(folder, metaFile))
		if err != nil || json.NewDecoder(bytes.NewReader(data)).Decode(&s) != nil || s.Version < raft.SnapshotVersionMin || s.Version > raft.SnapshotVersionMax {
			continue // as the library does
		}
		s.image, s.err = readState(filepath.Join(folder, stateFile), s.CRC)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b stored) int {
		return cmp.Or(cmp.Compare(b.Term, a.Term), cmp.Compare(b.Index, a.Index), cmp.Compare(b.ID, a.ID))
	})
	return all
}

func readState(file string, sum []byte) (i image, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return i, err
	}
	crc := crc64.New(crc64.MakeTable(crc64.ECMA))
	_, _ = crc.Write(data) // a sum takes everything
	if !bytes.Equal(crc.Sum(nil), sum) {
		return i, fmt.Errorf("%s is damaged: its sum is another", stateFile)
	}
	i.Ledger = ledger.New()
	if err := json.Unmarshal(data, &i); err != nil {
		return i, fmt.Errorf("%s is not an image of a ledger: %w", stateFile, err)
	}
	return i, nil
}

func sumOfMeta(path, snapshot string) (string, error) {
	data, err := os.ReadFile(filepath.Join(path, snapFolder, snapshot, metaFile))
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

// checkMeta refuses a snapshot whose meta.json is not what was written. The library believes
// what stands there, of the snapshot's index and the group's members.
func (r record) checkMeta(path, snapshot string) error {
	want, known := r.Metas[snapshot]
	if !known { // of before sums were kept, or of a start that was cut short
		return nil
	}
	got, err := sumOfMeta(path, snapshot)
	if errors.Is(err, fs.ErrNotExist) { // it was being removed: others are there, or it is missed
		return nil
	}
	if err != nil || got != want {
		return partial(path, "%s is damaged", filepath.Join(snapFolder, snapshot, metaFile))
	}
	return nil
}
