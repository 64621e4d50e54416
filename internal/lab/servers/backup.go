package servers

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Restart kills every member at once, and starts them with their data. It returns
// when they answer.
func (c *Cluster) Restart(ctx context.Context) error {
	return c.down(ctx, func(*Member) error { return nil })
}

// Pause stops every member where it is, and returns what lets them go on.
func (c *Cluster) Pause() (resume func() error, err error) {
	all := func(do func(m *Member) error) (err error) {
		for _, m := range c.Members {
			err = errors.Join(err, do(m))
		}
		return err
	}
	return func() error { return all((*Member).Resume) }, all((*Member).Pause)
}

// Save copies the members' data to a new folder in dir, as a backup of their disks does, and
// returns what puts it back. Both restart the members.
func (c *Cluster) Save(ctx context.Context, dir string) (restore func(ctx context.Context) error, err error) {
	if dir, err = os.MkdirTemp(dir, "backup"); err != nil {
		return nil, err
	}
	copyTo := func(m *Member) string { return filepath.Join(dir, m.name) }
	err = c.down(ctx, func(m *Member) error { return copyData(copyTo(m), m.data) })
	return func(ctx context.Context) error {
		return c.down(ctx, func(m *Member) error {
			return errors.Join(os.RemoveAll(m.data), copyData(m.data, copyTo(m)), os.Chmod(m.data, 0o700), m.own(m.data))
		})
	}, err
}

// copyData copies a folder with its files' permissions, which os.CopyFS leaves behind: a key would be readable by all.
func copyData(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(from, path)
		return errors.Join(err, os.Chmod(filepath.Join(to, inside), info.Mode().Perm()))
	})
}

// KillLeader kills the member that leads, waits until another one does, and starts
// it again.
func (c *Cluster) KillLeader(ctx context.Context) error {
	i, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	c.Members[i].Kill()
	for _, err = c.Leader(ctx); err != nil && ctx.Err() == nil; _, err = c.Leader(ctx) {
		select {
		case <-ctx.Done():
		case <-time.After(poll):
		}
	}
	return errors.Join(err, c.Members[i].Restart(ctx))
}

// down does something to every member while none runs.
func (c *Cluster) down(ctx context.Context, do func(m *Member) error) error {
	var errs []error
	for _, m := range c.Members {
		m.Kill()
	}
	for _, m := range c.Members {
		errs = append(errs, do(m))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return startAll(ctx, c.Members)
}
