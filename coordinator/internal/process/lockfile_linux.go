package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/lock"
)

// A Lockfile proves deaths where a PID cannot, as in a container that is started again. The kernel's lock on it
// belongs to this process and to all that it has started since, and is free once none of them is left. A process
// that gets the lock therefore knows that the sessions named in the file are over.
type Lockfile struct {
	file *os.File
	dead []string // what the sessions' IDs of those that had it begin with
}

const (
	fileMark = "understudy-lock-file "
	mostSize = 4096
	// mostKept is for how many that had it the file remembers: a container may be started again and again before one
	// of them reaches the store.
	mostKept = 16
	// leastFD is above what a process gives its child by number, which would take the place of this file there.
	leastFD = 100
)

// local are the file systems whose locks reach everybody who can have the file.
var local = []int64{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC,
	unix.OVERLAYFS_SUPER_MAGIC, 0x2fc12fc1 /* ZFS */, 0xca451a4e, /* bcachefs */
}

// Check says why there can be no Lockfile at path.
func Check(path string) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = read(f)
	return err
}

// Take locks the file at path, for a process whose sessions' IDs begin with nonce, and waits no longer than patience
// while another process has it. What this process starts from then on has the lock, too. It fails with
// ErrNoProof where no Lockfile can be had that proves something.
func Take(path, nonce string, patience time.Duration) (*Lockfile, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := isLocal(f); err != nil {
		return nil, err
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, leastFD) // without O_CLOEXEC: children have it
	if errors.Is(err, unix.EINVAL) {
		// The limit of this process is smaller than that.
		err = fmt.Errorf("it needs a file numbered %d or more: %w", leastFD, unix.EMFILE)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", path, err)
	}
	l := &Lockfile{file: os.NewFile(uintptr(fd), path)}
	if err := l.lock(patience); err != nil {
		l.Close()
		return nil, err
	}
	if l.dead, err = sign(l.file, nonce); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lockfile) lock(patience time.Duration) error {
	for end := time.Now().Add(patience); ; time.Sleep(patience / 20) {
		err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("%q: %w", l.file.Name(), err)
		case time.Now().After(end):
			return fmt.Errorf("%w: %q is locked by another process, or by what an earlier one has started", ErrNoProof, l.file.Name())
		}
	}
}

// isLocal fails where other machines may have the file, whose locks may not reach this one.
func isLocal(f *os.File) error {
	var system unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &system); err != nil {
		return fmt.Errorf("%q: %w", f.Name(), err)
	}
	if !slices.Contains(local, int64(system.Type)) {
		return fmt.Errorf("%w: %q is on a file system of type %#x, which other machines may share; name a file on a local disk, or on a tmpfs", ErrNoProof, f.Name(), system.Type)
	}
	return nil
}

func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%q: there is no such directory; create it", filepath.Dir(path))
	case err != nil:
		return nil, fmt.Errorf("%w; name a file that user %d may write", err, os.Geteuid())
	}
	return f, nil
}

// read is what the file holds: nothing, where it is new.
func read(f *os.File) (string, error) {
	if info, err := f.Stat(); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%q is not a regular file; name one that is not there yet", f.Name())
	}
	text, err := io.ReadAll(io.LimitReader(io.NewSectionReader(f, 0, mostSize), mostSize))
	if err == nil && len(text) > 0 && !strings.HasPrefix(string(text), fileMark) {
		err = fmt.Errorf("%q holds something else; name a file that is not there yet", f.Name())
	}
	return string(text), err
}

// sign writes that we have the file, and returns who had it. What is written counts on the kernel that it was written
// on, and in the file that it was written to, not in a copy.
func sign(f *os.File, nonce string) ([]string, error) {
	text, err := read(f)
	if err != nil {
		return nil, err
	}
	var info unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &info); err != nil {
		return nil, err
	}
	here := fmt.Sprintf("%s%s %d:%d", fileMark, This().Boot, info.Dev, info.Ino)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var dead []string
	if This().Boot != "" && lines[0] == here {
		dead = lines[1:]
	}
	kept := append(slices.Clone(dead[max(0, len(dead)-mostKept+1):]), nonce)
	now := here + "\n" + strings.Join(kept, "\n") + "\n"
	if _, err := f.WriteAt([]byte(now), 0); err != nil {
		return nil, err
	}
	return dead, f.Truncate(int64(len(now)))
}

// Dead reports whether a session is proved to be that of a dead process. It may be called on nil, which proves nothing.
func (l *Lockfile) Dead(id lock.SessionID) bool {
	return l != nil && slices.ContainsFunc(l.dead, func(nonce string) bool { return strings.HasPrefix(string(id), nonce+"-") })
}

// Close gives the lock back. What this process has started still has it. It may be called on nil.
func (l *Lockfile) Close() {
	if l != nil {
		_ = l.file.Close()
	}
}
