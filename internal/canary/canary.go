// Package canary writes to a disk again and again, so that somebody notices when that hangs.
package canary

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A Canary is one small file, which is written over and synced for as long as it lives, and removed
// at its end. Each write may take as long as the disk does: it has a goroutine, and while it
// hangs a thread, of its own.
type Canary struct {
	dir, path, id string
	file          *os.File // nil: it is not there yet
	wrote         chan error
	stop          context.CancelFunc
	ended         chan struct{}
}

// Start begins to write into a directory, on behalf of a contender, with a pause after each write.
func Start(dir, id string, pause time.Duration) *Canary {
	ctx, stop := context.WithCancel(context.Background())
	sum := sha256.Sum256([]byte(id)) // an ID may be longer than a file's name, and hold a slash
	c := &Canary{dir: dir, path: filepath.Join(dir, fmt.Sprintf("understudy-canary-%x", sum[:8])), id: id, wrote: make(chan error), stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		for ctx.Err() == nil {
			err := c.write()
			select {
			case c.wrote <- err:
			case <-ctx.Done():
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
		c.remove()
	}()
	return c
}

// Wrote has how each write went, once it has returned.
func (c *Canary) Wrote() <-chan error { return c.wrote }

// Stop ends the writing, and waits for the write that is under way, but no longer than patience. It
// reports whether nothing is left behind.
func (c *Canary) Stop(patience time.Duration) bool {
	c.stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-c.ended:
		return true
	case <-late.C:
		return false
	}
}

// write writes the file once, and makes it where it is not there, or not any more: what was removed with
// its directory can be written for ever, and nobody finds it.
func (c *Canary) write() error {
	if c.file != nil && !c.there() {
		_ = c.file.Close()
		c.file = nil
	}
	if c.file == nil {
		if err := c.open(); err != nil {
			return err
		}
	}
	page := make([]byte, 4096)
	copy(page, fmt.Sprintf("The canary of %q, for understudy. Last written at %s.\n", c.id, time.Now().Format(time.RFC3339Nano)))
	_, err := c.file.WriteAt(page, 0)
	if err == nil {
		err = c.file.Sync()
	}
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w; make room there", err)
	}
	return err
}

// there reports whether the file is still the one at its path.
func (c *Canary) there() bool {
	ours, errOurs := c.file.Stat()
	now, errNow := os.Lstat(c.path)
	return errOurs == nil && errNow == nil && os.SameFile(ours, now)
}

// open makes the file. What a process that was killed has left there is removed: whoever can
// write into the directory could have put a link there.
func (c *Canary) open() error {
	switch info, err := os.Stat(c.dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%q is not there; create the directory, on the disk that the work needs", c.dir)
	case err != nil:
		return fmt.Errorf("%w; name a directory on the disk that the work needs", err)
	case !info.IsDir():
		return fmt.Errorf("%q is not a directory; name the one that it is in", c.dir)
	}
	err := os.Remove(c.path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		c.file, err = os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let user %d write to that directory, or name another one on the same disk", err, os.Geteuid())
	case err != nil:
		return fmt.Errorf("%w; name a directory on the disk that the work needs", err)
	}
	return nil
}

func (c *Canary) remove() {
	if c.file != nil {
		_ = c.file.Close() // what it holds is of no use to anybody
		_ = os.Remove(c.path)
	}
}
