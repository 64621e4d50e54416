package filestore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/examples/filestore"
)

// TestSuite proves the store.
func TestSuite(t *testing.T) {
	dir := t.TempDir()
	var cases atomic.Int64
	conformancetest.Run(t, conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			path := filepath.Join(dir, fmt.Sprint(cases.Add(1)))
			return &conformance.Store{
				Open: func(context.Context) (*conformance.Client, error) {
					return &conformance.Client{Locker: filestore.Open(path)}, nil
				},
			}, nil
		},
		Lacks: map[conformance.Fault]string{
			conformance.Cut:           "there is no network to a file",
			conformance.CutReplies:    "there is no network to a file",
			conformance.CutRequests:   "there is no network to a file",
			conformance.Refuse:        "there is no network to a file",
			conformance.Restart:       "there is no server",
			conformance.Pause:         "there is no server",
			conformance.KillLeader:    "there is no server",
			conformance.LoseNode:      "there is no server",
			conformance.Compact:       "the file has no history",
			conformance.RevokeLease:   "the file has no leases",
			conformance.Leftovers:     "the file has no leases: who stands by evicts the silent",
			conformance.Save:          "to be written: copy the file",
			conformance.DeleteSession: "to be written: edit the file",
			conformance.DeleteRole:    "to be written: edit the file",
			conformance.Overwrite:     "to be written: edit the file",
		},
		TTL: 2 * time.Second, Slack: 6 * time.Second, // every write of every case waits for one disk: in RunAbandoned those of sixty sessions
	})
}

// TestDocumented expects the code in docs/backend.md to be this package's or the other example's, word for word.
func TestDocumented(t *testing.T) {
	page := read(t, "../../docs/backend.md")
	code := read(t, "filestore.go") + read(t, "row.go") + read(t, "filestore_test.go") + read(t, "../zookeeper/zookeeper.go")
	blocks := strings.Split(page, "```go\n")[1:]
	if len(blocks) == 0 {
		t.Error("docs/backend.md shows no code")
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(code, block) {
			t.Errorf("this is not in the code:\n%s", block)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
