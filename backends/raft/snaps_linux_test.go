package raft

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestSnapshotsThatFail: of a snapshot for which a disk has no room nothing is left, wherever the room ends: the
// folder does not grow with every try. With room the next one is kept.
func TestSnapshotsThatFail(t *testing.T) {
	disk := lab.OwnDisk(t, "400k")
	if disk == "" {
		return
	}
	d, err := openDirectory(filepath.Join(disk, "a"), "a", slog.New(slog.DiscardHandler))
	must(t, err)
	outcomes := map[string]int{}
	for left := int64(0); left <= 6*4096; left += 4096 {
		for _, end := range []string{"close", "cancel"} {
			how := try(t, d, disk, left, end)
			outcomes[how]++
			if names := unfinished(d.path); len(names) > 0 {
				t.Errorf("%d bytes left, %s, %s: there still is %q", left, end, how, names)
			}
		}
	}
	for _, how := range []string{"create", "close", "cancel", "kept"} {
		if outcomes[how] == 0 {
			t.Errorf("no snapshot ended at %s: %v", how, outcomes)
		}
	}
	if got := len(listSnapshots(d.path)); got == 0 {
		t.Error("no snapshot is kept")
	}
	must(t, d.close())
}

// try makes a snapshot on a disk with so much room, and says at which step it ended.
func try(t *testing.T, d *directory, disk string, left int64, end string) string {
	t.Helper()
	var s syscall.Statfs_t
	must(t, syscall.Statfs(disk, &s))
	junk := filepath.Join(disk, "junk")
	must(t, os.WriteFile(junk, make([]byte, max(0, int64(s.Bavail)*s.Bsize-left)), 0o600))
	defer func() { must(t, os.Remove(junk)) }()
	sink, err := d.snaps.Create(raft.SnapshotVersionMax, 7, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		return "create"
	}
	_, err = fmt.Fprintf(sink, "%08000d", 1)
	if end == "cancel" {
		_ = sink.Cancel() // that it cannot be written is not news
		return "cancel"
	}
	if err != nil || sink.Close() != nil {
		_ = sink.Cancel()
		return "close"
	}
	return "kept"
}
