package raft

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// Beyond is how far above the last token that a backup knows tokens begin after a restore. The group
// may have gone on after it, and a node that is left may have been away: no group gives so many tokens
// in a year.
const Beyond lock.Token = 1 << 40

// backupFormat is the newest version of what a backup's file says.
const backupFormat = 1

// mostBackup is how many bytes such a file has at most.
const mostBackup = 32 << 20

// A Backup is what a group keeps beside its roles, as a file holds it: decisions of operators, the
// values of fencingraft, and how far tokens went.
type Backup struct {
	Format int
	At     time.Time
	Node   string     // "": it is a running group's, by its leader's word
	Term   uint64     // of the last entry, where it is a node's
	Above  lock.Token // after a restore every token is greater
	Sum    string     // of all the rest
	Ledger json.RawMessage
	saved  ledger.Backup
}

// Group is the identity of the group that it is of.
func (b *Backup) Group() string { return b.saved.Identity }

// Last is the index of the last entry that is in it.
func (b *Backup) Last() uint64 { return b.saved.Revision }

// String is a line for people.
func (b *Backup) String() string {
	return fmt.Sprintf("group %s up to entry %d: %d paused roles, %d contenders with settings, %d values, tokens up to %d", b.Group(), b.Last(), len(b.saved.Paused), len(b.saved.Settings), len(b.saved.Values), b.saved.Last)
}

func newBackup(saved ledger.Backup, node string, term uint64) (*Backup, error) {
	text, err := json.Marshal(saved)
	if err != nil {
		return nil, err
	}
	b := &Backup{Format: backupFormat, At: time.Now().UTC().Round(time.Second), Node: node, Term: term, Above: saved.Last + Beyond, Ledger: text, saved: saved}
	b.Sum, err = b.sum()
	return b, errors.Join(err, lock.CheckFloor(b.Above))
}

// sum is the sum of everything in b but Sum.
func (b Backup) sum() (string, error) {
	b.Sum = ""
	text, err := json.Marshal(b)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// Save returns the backup of a group that runs. Under TLS it takes the certificate of a peer.
func Save(ctx context.Context, c Config) (*Backup, error) {
	var saved ledger.Backup
	err := asKeeper(c, func(k ledger.Keeper) (err error) {
		for saved.Identity == "" && err == nil { // a group that has just begun has none yet
			if saved, err = k.Save(ctx); saved.Identity == "" {
				rest(ctx, ask)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return newBackup(saved, "", 0)
}

// asKeeper does something as a client of the group.
func asKeeper(c Config, do func(ledger.Keeper) error) error {
	c.ID = "" // every peer may be asked
	l, err := Dial(c)
	if err != nil {
		return err
	}
	return errors.Join(do(l.(outsider).Keeper), l.Close())
}

// Write writes b to a file that is not there yet, durably.
func (b *Backup) Write(file string) error {
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return lock.Permanent(fmt.Errorf("backup %s: there is such a file already: give another name", file))
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("backup: %w", err), os.Remove(file))
	}
	return nil
}

// ReadBackup reads a file that Write has written, and refuses one that is cut short or changed.
func ReadBackup(file string) (*Backup, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, lock.Permanent(fmt.Errorf("backup: %w", err))
	}
	defer func() { _ = f.Close() }() // it is only read
	text, err := io.ReadAll(io.LimitReader(f, mostBackup+1))
	if errors.Is(err, syscall.EISDIR) {
		return nil, lock.Permanent(fmt.Errorf("backup %s: is a directory; name a file that raft backup or raft recover has written", file))
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	var b Backup
	broken := func(what string, args ...any) error {
		return lock.Permanent(fmt.Errorf("backup %s: %s: give a file that understudy raft backup or raft recover has written, whole", file, fmt.Sprintf(what, args...)))
	}
	if len(text) > mostBackup {
		return nil, broken("it has more than %d bytes", mostBackup)
	}
	if err := json.Unmarshal(text, &b); err != nil || b.Format == 0 {
		return nil, broken("it is cut short, or no backup")
	}
	if b.Format > backupFormat {
		return nil, lock.Permanent(fmt.Errorf("backup %s: it has format %d, this program reads %d: run a newer one", file, b.Format, backupFormat))
	}
	if sum, err := b.sum(); err != nil || sum != b.Sum {
		return nil, broken("it was changed: its sum is another")
	}
	if err := json.Unmarshal(b.Ledger, &b.saved); err != nil {
		return nil, broken("%v", err)
	}
	if err := b.saved.Check(); err != nil {
		return nil, broken("%v", err)
	}
	if b.Above < b.saved.Last+Beyond {
		return nil, broken("it would have tokens begin above %d, and they went up to %d", b.Above, b.saved.Last)
	}
	return &b, nil
}

// Newest is the backup that knows most: the one with the last term, and then with the last entry.
// All must be of one group.
func Newest(all []*Backup) (newest *Backup, err error) {
	for _, b := range all {
		if newest == nil {
			newest = b
			continue
		}
		if b.Group() != newest.Group() {
			return nil, lock.Permanent(fmt.Errorf("backups of two groups, %s and %s: give those of one", newest.Group(), b.Group()))
		}
		if cmp.Or(cmp.Compare(b.Term, newest.Term), cmp.Compare(b.Last(), newest.Last())) > 0 {
			newest = b
		}
	}
	return newest, nil
}

// Restore puts a backup into a group that runs and in which nobody is registered: the group that it
// is of, or another, which from then on answers to the identity of the first. Under TLS it takes the
// certificate of a peer. It returns what the group has afterwards.
func Restore(ctx context.Context, c Config, b *Backup, above lock.Token) (now *Backup, err error) {
	var saved ledger.Backup
	err = asKeeper(c, func(k ledger.Keeper) (err error) {
		if err := k.Restore(ctx, b.saved, max(above, b.Above)); err != nil {
			return err
		}
		saved, err = k.Save(ctx)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case saved.Last < max(above, b.Above) || len(saved.Values) != len(b.saved.Values):
		return nil, lock.Permanent(fmt.Errorf("the group has tokens up to %d and %d values after the restore, and not up to %d and %d: somebody writes to it; stop every contender and restore again", saved.Last, len(saved.Values), max(above, b.Above), len(b.saved.Values)))
	}
	return newBackup(saved, "", 0)
}

// Recover returns, as a backup, all that a data directory knows, with entries that the group may
// never have acknowledged. It changes nothing there. A directory that is damaged is refused.
func Recover(dir string) (*Backup, Checkup, error) {
	c, err := Check(dir)
	switch {
	case err != nil:
		return nil, c, err
	case c.Damage != "":
		return nil, c, lock.Permanent(fmt.Errorf("data directory %s: %s: what is left of it says nothing for sure; leave it out", dir, c.Damage))
	case c.Empty:
		return nil, c, lock.Permanent(fmt.Errorf("data directory %s: it holds nothing of a node; leave it out", dir))
	}
	l, err := replay(dir)
	if err != nil {
		return nil, c, err
	}
	l.Identity = cmp.Or(l.Identity, c.Group)
	l.Revision = max(l.Revision, c.Last) // entries that are not commands count, too
	b, err := newBackup(l.Backup(), c.Node, c.LastTerm)
	return b, c, err
}

// replay is the ledger that a whole directory adds up to.
func replay(dir string) (l *ledger.Ledger, err error) {
	defer mendable(dir, &err)()
	m, from := newMachine(), uint64(0)
	for _, s := range readSnapshots(dir) {
		if s.image.Format > format {
			return nil, lock.Permanent(fmt.Errorf("data directory %s: the snapshot %s has format %d, this program reads up to %d: run a newer one", dir, s.ID, s.image.Format, format))
		}
		if s.err == nil {
			m.ledger, from = s.image.Ledger, s.Index
			break
		}
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, logFile), BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: time.Second}})
	if err != nil {
		return nil, partial(dir, "%s is damaged: %v", logFile, err)
	}
	defer func() { err = errors.Join(err, bolt.Close()) }()
	last, err := bolt.LastIndex()
	for i := from + 1; err == nil && i <= last; i++ {
		var entry raft.Log
		if err = entryAt(bolt, i, &entry); err == nil && entry.Type == raft.LogCommand {
			m.Apply(&entry)
			err = m.err()
		}
	}
	return m.ledger, err
}
