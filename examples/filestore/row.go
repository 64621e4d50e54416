package filestore

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/lock"
)

// A Config says where the store is. Its fields are settings: --file-path,
// UNDERSTUDY_FILE_PATH, and file.path in a file of settings.
type Config struct {
	Path string `setting:"the file, on a disk of this machine"`
}

// Row is this store in the table of stores. A program that calls backends.Add(filestore.Row)
// first in main is told to use it by --backend file, as any other.
var Row = backends.Store{
	Name:     "file",
	Settings: func(c *backends.Config) any { return settings(c) },
	Open:     func(_ context.Context, c backends.Config) (lock.Locker, error) { return Open(settings(&c).Path), nil },
	Validate: func(c backends.Config) error {
		if settings(&c).Path == "" {
			return lock.InFields(errors.New("must not be empty"), "Path")
		}
		return nil
	},
	Facts: func(context.Context, backends.Config, time.Duration) backends.Facts {
		return backends.Facts{Unit: "changes", History: "kept nowhere: the file is replaced"}
	},
}

func settings(c *backends.Config) *Config { return backends.SettingsOf[Config](c, "file") }
