// Package filestore is a store of one's own, in about a hundred lines: a file on a disk that
// the processes of one machine share. docs/backend.md walks through it.
//
// It shows what a store must be, not what a good one is: a disk that is shared over a network
// must have locks that hold, which few do.
package filestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// Open returns a Locker on the file at path, which the first write creates.
func Open(path string) lock.Locker {
	s := &store{path: path}
	s.closed, s.close = context.WithCancelCause(context.Background())
	return ledger.NewLocker(s)
}

// A store is one process's way to the file.
type store struct {
	path   string
	mu     sync.Mutex // flock lets the calls of one process through together
	closed context.Context
	close  context.CancelCauseFunc
}

var errClosed = errors.New("the store is closed")

// Propose applies one command. The lock makes it linearizable: everybody who writes holds it
// from the read to the rename, and the rename is on the disk before the answer is given.
func (s *store) Propose(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	if err := errors.Join(ctx.Err(), context.Cause(s.closed)); err != nil {
		return ledger.Result{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	held, err := s.lock(ctx)
	if err != nil {
		return ledger.Result{}, err
	}
	defer held.Close() // which gives the lock back, as the process's death does
	l, err := s.read()
	if err != nil {
		return ledger.Result{}, err
	}
	r := l.Apply(l.Revision+1, c)
	r.Revision = l.Revision
	if err := s.write(l); err != nil {
		return ledger.Result{}, err // unknown: it may have reached the disk
	}
	return r, nil
}

// lock waits for the lock of the file.
func (s *store) lock(ctx context.Context) (held *os.File, err error) {
	f, err := os.OpenFile(s.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = s.pause(ctx, time.Millisecond)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
}

// Look polls: a file has no watch.
func (s *store) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	for {
		l, err := s.read()
		if err != nil {
			return ledger.View{}, err
		}
		if v := l.View(roles...); v.After(after) {
			return v, nil
		}
		if err := s.pause(ctx, 5*time.Millisecond); err != nil {
			return ledger.View{}, err
		}
	}
}

func (s *store) Close() error {
	s.close(errClosed)
	return nil
}

// pause waits, unless the call's time is up or the store is closed.
func (s *store) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed.Done():
		return context.Cause(s.closed)
	}
}

// read returns the ledger as the last rename left it.
func (s *store) read() (*ledger.Ledger, error) {
	l := ledger.New()
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		l.Revision = 1 // 0 is before everything
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, lock.Permanent(fmt.Errorf("%s: %w", s.path, err))
	}
	return l, nil
}

// write puts the ledger on the disk, whole or not at all.
func (s *store) write(l *ledger.Ledger) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // which is gone if all went well
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
