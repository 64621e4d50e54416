package raft

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// TestOneBitOfAPage: one bit of what bbolt writes around the entries, such as how many a page has, is another. Whichever it is,
// the directory is refused by name, or nothing of what the node knows is lost by it; and nobody reads in a circle.
func TestOneBitOfAPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := openDirectory(dir, "a", Config{}.logger())
	must(t, err)
	var logs []*raft.Log
	for i := range uint64(60) {
		logs = append(logs, &raft.Log{Index: i + 1, Term: 1, Type: raft.LogNoop, Data: bytes.Repeat([]byte{byte(i)}, 200)})
	}
	must(t, errors.Join(d.bolt.SetUint64(termKey, 1), d.bolt.SetUint64(votedKey, 1), d.bolt.Set(votedForKey, []byte("127.0.0.1:1")), d.bolt.StoreLogs(logs), d.close()))
	file := filepath.Join(dir, logFile)
	good, size := readFile(t, file), os.Getpagesize()
	kinds, refused := map[byte]int{}, 0
	want := saysOf(t, dir)
	for _, page := range live(t, file) {
		head := good[int(page)*size:]
		kinds[head[8]]++
		for bit := range 8 * (pageHead + pageElement*int(head[10])) {
			if bit >= 8*pageHead && bit%11 != 0 {
				continue
			}
			bad := bytes.Clone(good)
			bad[int(page)*size+bit/8] ^= 1 << (bit % 8)
			must(t, os.WriteFile(file, bad, 0o600))
			_, _, err := inspect(dir, "a")
			told := (*partialError)(nil)
			switch {
			case errors.As(err, &told) && strings.Contains(err.Error(), logFile):
				refused++
			case err != nil:
				t.Errorf("page %d, bit %d: %v", page, bit, err)
			default:
				if is := saysOf(t, dir); is != want {
					t.Errorf("page %d, bit %d: the node starts with %.200s", page, bit, is)
				}
			}
			if c, err2 := Check(dir); err2 != nil || (c.Damage != "") != (err != nil) {
				t.Errorf("page %d, bit %d: Check says %q and %v, a start %v", page, bit, c.Damage, err2, err)
			}
		}
	}
	if kinds[branchPage] == 0 || kinds[leafPage] < 3 || refused < 1000 {
		t.Errorf("pages by kind: %v, and %d directories were refused: that is too few", kinds, refused)
	}
}

// live are the pages that count.
func live(t *testing.T, file string) (all []uint64) {
	t.Helper()
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true})
	must(t, err)
	must(t, db.View(func(tx *bbolt.Tx) error {
		seen, err := lookAt(tx, file)
		all = slices.Sorted(maps.Keys(seen))
		return err
	}))
	must(t, db.Close())
	return all
}

// saysOf is what a directory says of its node.
func saysOf(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, logFile), BoltOptions: &bbolt.Options{ReadOnly: true}})
	must(t, err)
	for _, key := range [][]byte{ownerKey, recordKey, termKey, votedKey, votedForKey} {
		value, err := bolt.Get(key)
		fmt.Fprintf(&all, "%s %q %v ", key, value, err)
	}
	last, err := bolt.LastIndex()
	for i := uint64(1); err == nil && i <= last; i++ {
		var l raft.Log
		err := bolt.GetLog(i, &l)
		fmt.Fprintf(&all, "%d %d %q %v ", l.Index, l.Term, l.Data, err)
	}
	must(t, errors.Join(err, bolt.Close()))
	return all.String()
}
