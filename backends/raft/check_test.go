package raft

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/lock"
)

// TestCheckNamesEveryDamage: what a start would refuse Check says, with the same words, and
// changes nothing, not even when a file was written. What a start takes Check calls whole.
func TestCheckNamesEveryDamage(t *testing.T) {
	t.Parallel()
	eachDamage(t, func(t *testing.T, d damage, dir string) {
		before := fingerprint(t, dir)
		c, err := Check(dir)
		must(t, err)
		if after := fingerprint(t, dir); after != before {
			t.Errorf("the directory was changed from\n%sto\n%s", before, after)
		}
		if damaged := c.Damage != ""; damaged != (d.says != "") || !strings.Contains(c.Damage, d.says) {
			t.Fatalf("want %q, got %+v", d.says, c)
		}
		if (c.Cure != "") != strings.Contains(errorOf(dir), partialCure) || c.Cure != "" && c.Cure != partialCure {
			t.Errorf("the start says %s, and Check: %s", errorOf(dir), c.Cure)
		}
		if c.Damage == "" && !c.Empty && (c.Node != "a" || c.Last == 0 || c.Term == 0 || len(c.Members) != 1 || c.Members[0].ID != "a") {
			t.Errorf("%+v", c)
		}
	})
}

// errorOf is what a start on a directory says.
func errorOf(dir string) string {
	_, _, err := inspect(dir, "")
	return fmt.Sprint(err)
}

// TestOneCure: the page that people read says word for word what a start and Check say.
func TestOneCure(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/raft.md")
	must(t, err)
	if text := strings.Join(strings.Fields(string(page)), " "); !strings.Contains(text, strings.ReplaceAll(partialCure, "understudy raft recover", "`raft recover`")) {
		t.Errorf("docs/raft.md does not say: %s", partialCure)
	}
	if strings.Contains(partialCure, "put back") {
		t.Error(partialCure)
	}
}

// fingerprint is every name in a directory with its mode, the time of its last change, and the
// sum of what it holds.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var data []byte
		if !e.IsDir() {
			data, err = os.ReadFile(path)
		}
		fmt.Fprintln(&all, path, info.Mode(), info.ModTime().UnixNano(), sha256.Sum256(data))
		return err
	}))
	return all.String()
}

// TestCheckOfAnEmptyDirectory, and of what is not a directory.
func TestCheckOfAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if c, err := Check(dir); err != nil || !c.Empty || c.Damage != "" {
		t.Errorf("%+v, %v", c, err)
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for path, says := range map[string]string{file: "it is a file", filepath.Join(dir, "none"): "there is none"} {
		if _, err := Check(path); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestCheckOfADirectoryInUse says so at once: by a node, and by what has raft.db alone open.
func TestCheckOfADirectoryInUse(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, nil).start()
	dir := g.configs[0].Dir
	if _, err := Check(dir); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("of a node that runs: %v", err)
	}
	g.leader()
	g.stop(0)
	db, err := bbolt.Open(filepath.Join(dir, logFile), 0o600, nil)
	must(t, err)
	began := time.Now()
	if _, err := Check(dir); err == nil || !strings.Contains(err.Error(), "another process has raft.db open") {
		t.Errorf("of a raft.db that is open: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	must(t, db.Close())
	c, err := Check(dir)
	must(t, err)
	if c.Group == "" || c.Last < 2 || c.LastTerm == 0 || c.Voted == 0 {
		t.Errorf("%+v", c)
	}
}

// TestSnapshotsAreReadAsTheLibraryDoes: Raft starts with the one that this calls the newest
// that can be read.
func TestSnapshotsAreReadAsTheLibraryDoes(t *testing.T) {
	t.Parallel()
	eachDamage(t, func(t *testing.T, _ damage, dir string) {
		var ours, theirs string
		for _, s := range readSnapshots(dir) {
			if s.err == nil {
				ours = s.ID
				break
			}
		}
		files, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
		must(t, err)
		list, err := files.List()
		must(t, err)
		for _, meta := range list {
			_, content, err := files.Open(meta.ID)
			if err != nil {
				continue
			}
			err = json.NewDecoder(content).Decode(&image{})
			must(t, content.Close())
			if err == nil {
				theirs = meta.ID
				break
			}
		}
		if ours != theirs {
			t.Errorf("ours %q, the library's %q", ours, theirs)
		}
	})
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}
