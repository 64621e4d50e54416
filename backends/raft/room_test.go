//go:build unix

package raft

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRoomOf: what a file system keeps for root counts for root alone, and one without a size is not a full one.
func TestRoomOf(t *testing.T) {
	st := unix.Statfs_t{Blocks: 100, Bfree: 5, Bavail: 0, Bsize: 4096}
	if left, err := roomOf(st, false); err != nil || left != 0 {
		t.Errorf("for others: %d, %v", left, err)
	}
	if left, err := roomOf(st, true); err != nil || left != 5*4096 {
		t.Errorf("for root: %d, %v", left, err)
	}
	if _, err := roomOf(unix.Statfs_t{Bsize: 4096}, true); !errors.Is(err, errNoSize) {
		t.Errorf("without a size: %v", err)
	}
}
