package raft

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// TestDirectoryIsDocumented: docs/records.md names every file of a directory, every bucket and key of raft.db and every field,
// and no file that is not there.
func TestDirectoryIsDocumented(t *testing.T) {
	t.Parallel()
	text := string(readFile(t, "../../docs/records.md"))
	_, page, _ := strings.Cut(text, "## In embedded Raft")
	page, _, _ = strings.Cut(page, "\n## ")
	lists := func(what, name string) {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/records.md lacks the %s %s", what, name)
		}
	}
	dir := fullDirectory(t)
	files := filesOf(t, dir)
	for _, name := range files {
		lists("file", name)
	}
	_, table, _ := strings.Cut(page, "| file | what |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for row := range strings.SplitSeq(table, "\n") {
		if name := strings.Split(row, "`")[1]; !slices.Contains(files, name) {
			t.Errorf("docs/records.md names the file %s, and the directory has %v", name, files)
		}
	}
	keys := keysOf(t, dir)
	if want := []string{"CurrentTerm", "Directory", "Heard", "LastVoteCand", "LastVoteTerm", "Node"}; !slices.Equal(keys["conf"], want) {
		t.Errorf("raft.db has the keys %v, want %v: the directory does not have everything in it", keys["conf"], want)
	}
	for bucket, all := range keys {
		lists("bucket", bucket)
		for _, key := range all {
			lists("key", key)
		}
	}
	for _, of := range []reflect.Type{reflect.TypeFor[marker](), reflect.TypeFor[record](), reflect.TypeFor[entry](), reflect.TypeFor[image]()} {
		for i := range of.NumField() {
			lists("field", of.Field(i).Name)
		}
	}
	var meta map[string]json.RawMessage
	must(t, json.Unmarshal(readFile(t, glob(t, dir, "snapshots/*/meta.json")[0]), &meta))
	for _, name := range []string{"ID", "Index", "Term", "Configuration", "Size", "CRC"} {
		if lists("field", name); meta[name] == nil {
			t.Errorf("a meta.json has no %s", name)
		}
	}
}

// fullDirectory is a directory with everything in it, of a member of a group.
func fullDirectory(t *testing.T) string {
	t.Helper()
	g := newGroup(t, 2, func(c *Config) { c.snapshots = snapshots{threshold: 16, trailing: 4, interval: 10 * time.Millisecond} }).start()
	s, n := register(t, g.lockers[0], "a"), g.nodes[0]
	eventually(t, "a snapshot, and news of the peer", func() bool {
		_ = s.Beat(timeout(t, 5*time.Second))
		_, err := n.greetOne(timeout(t, 5*time.Second), n.config.others()[0])
		return err == nil && n.dir.read().Kept > 0
	})
	must(t, n.keepHeard())
	g.stop(0)
	g.stop(1)
	return g.configs[0].Dir
}

// filesOf are the names of the files in a directory, with SNAPSHOT for that of a snapshot.
func filesOf(t *testing.T, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if parts := strings.Split(filepath.ToSlash(name), "/"); len(parts) == 3 {
			name = fmt.Sprintf("%s/SNAPSHOT/%s", parts[0], parts[2])
		}
		all = append(all, name)
		return err
	}))
	return all
}

// keysOf are the keys of raft.db by bucket, of the log none.
func keysOf(t *testing.T, dir string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	db, err := bbolt.Open(filepath.Join(dir, logFile), 0o600, &bbolt.Options{ReadOnly: true})
	must(t, err)
	must(t, db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(bucket []byte, b *bbolt.Bucket) error {
			all[string(bucket)] = nil
			return b.ForEach(func(key, _ []byte) error {
				if string(bucket) != "logs" {
					all[string(bucket)] = append(all[string(bucket)], string(key))
				}
				return nil
			})
		})
	}))
	must(t, db.Close())
	return all
}
