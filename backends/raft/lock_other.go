//go:build !unix

package raft

import (
	"errors"
	"os"
	"runtime"

	"github.com/understudy-ha/understudy/lock"
)

// lockDirectory refuses: nobody has tried there what a node needs of its disk, such as a lock
// that ends with its process and a folder that is flushed.
func lockDirectory(string) (*os.File, error) {
	return nil, lock.Permanent(errors.New("a node of embedded Raft does not run on " + runtime.GOOS + ": choose etcd or Consul"))
}

func inUse(path string) error {
	_, err := lockDirectory(path)
	return err
}
