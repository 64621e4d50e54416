package raft

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// TestEveryPartInEveryState goes through the whole product of the parts of a directory and of what can become of each:
// the node is refused by name, and nothing is changed; or it starts, and knows all that it had acknowledged.
func TestEveryPartInEveryState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const whole, damaged, older, gap, elsewhere = "", "raft.db is damaged", "raft.db, with this node's votes, is older than node.json",
		"nor in a snapshot in snapshots/", "raft.db is from another directory than node.json"
	for part, says := range map[string][]string{ // of what is missing, empty, torn, older, foreign
		logFile:             {"raft.db, with this node's votes, is missing", "raft.db, with this node's votes, is empty", "raft.db is ", older, elsewhere},
		markerFile:          {"node.json is missing", "node.json is damaged", "node.json is damaged", whole, elsewhere},
		"lock":              {whole, whole, whole, whole, whole},
		snapFolder:          {gap, gap, gap, gap, "the snapshot"},
		metaFile:            {gap, "meta.json is damaged", "meta.json is damaged", "meta.json is damaged", "meta.json is damaged"},
		stateFile:           {gap, gap, gap, gap, gap},
		string(ownerKey):    {whole, whole, `belongs to node "no"`, whole, `belongs to node "elsewhere"`}, // node.json has it, too
		string(recordKey):   {older, damaged, damaged, older, elsewhere},
		string(heardKey):    {whole, damaged, damaged, whole, whole}, // no promise stands on it
		string(termKey):     {damaged, damaged, damaged, "knows terms up to"},
		string(votedKey):    {damaged, damaged, damaged}, // with its sum it is damaged, or it is what was written last
		string(votedForKey): {damaged, damaged, damaged},
	} {
		for i, want := range says {
			t.Run(part+" "+states[i], func(t *testing.T) {
				t.Parallel()
				w.comesTo(t, want, w.with(t, map[string]string{part: states[i]}))
			})
		}
	}
}

// TestPartsTogether goes through all combinations of the three parts of a node's state. Three kinds of directory may start: a
// whole one; one with nothing left, as a new node; and one that is older or foreign as a whole, which only the group can
// notice: see TestOlderDirectoryIsRefused and TestAnotherGroupsDirectoryIsRefused.
func TestPartsTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const whole, nothing, another = 1, 2, 3
	starts := map[[3]string]int{
		{"whole", "whole", "whole"}: whole, {"whole", "of the same start", "whole"}: whole, {"whole", "older", "whole"}: whole,
		{"missing", "missing", "missing"}: nothing, {"missing", "missing", "empty"}: nothing, {"empty", "missing", "missing"}: nothing, {"empty", "missing", "empty"}: nothing,
		{"older", "older", "older"}: another, {"of the same start", "of the same start", "of the same start"}: another,
		{"of the same start", "older", "of the same start"}: another, {"foreign", "foreign", "foreign"}: another,
	}
	all := append([]string{"whole", "of the same start"}, states...)
	for i := range len(all) * len(all) * len(all) {
		is := [3]string{all[i/len(all)/len(all)], all[i/len(all)%len(all)], all[i%len(all)]}
		dir := w.with(t, map[string]string{logFile: is[0], markerFile: is[1], snapFolder: is[2]})
		what := fmt.Sprintf("the log %s, the marker %s, the snapshots %s", is[0], is[1], is[2])
		before := contents(t, dir)
		d, err := openDirectory(dir, w.id, Config{}.logger())
		if starts[is] == 0 {
			w.refused(t, what, "", dir, before, err)
		} else if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil {
			continue
		}
		used, err := d.used()
		must(t, errors.Join(err, d.close()))
		if text := w.forgot(t, dir); starts[is] == whole && text != "" {
			t.Errorf("%s: %s", what, text)
		}
		if m, err := readMarker(dir); starts[is] == nothing && (err != nil || used || m.Directory == w.directory) {
			t.Errorf("%s: it is taken for what it was: %+v, %v", what, m, err)
		}
	}
}

// TestSnapshotsBesideAWholeLog: where the log was not cut yet, all that was acknowledged is in it, whatever became of the snapshots.
// The library does not start where there are some, and it can read none of them.
func TestSnapshotsBesideAWholeLog(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, func(c *Config) {
		c.snapshots = snapshots{threshold: 16, trailing: 1 << 20, interval: 10 * time.Millisecond}
	}).start()
	s := register(t, g.lockers[0], "a")
	eventually(t, "a snapshot", func() bool { return s.Beat(timeout(t, 5*time.Second)) == nil && g.nodes[0].dir.read().Kept > 40 })
	must(t, g.lockers[0].Raise(timeout(t, 5*time.Second), lastFloor))
	g.stop(0)
	whole := filepath.Join(t.TempDir(), "whole")
	must(t, os.CopyFS(whole, os.DirFS(g.configs[0].Dir)))
	w := &world{id: "a"}
	m, err := readMarker(whole)
	must(t, err)
	w.directory = m.Directory
	w.term, w.vote = votes(t, whole)
	const gone = "none of the snapshots in snapshots/ can be read"
	for what, c := range map[string]struct {
		do   func(*testing.T, string)
		says string
	}{
		"all of them lost":               {remove("snapshots"), ""},
		"without their meta.json":        {remove("snapshots/*/meta.json"), ""},
		"without their content":          {remove("snapshots/*/state.bin"), gone},
		"with a content that is torn":    {cut("snapshots/*/state.bin", 10), gone},
		"with a content that is empty":   {cut("snapshots/*/state.bin", 0), gone},
		"with a meta.json that is empty": {cut("snapshots/*/meta.json", 0), "meta.json is damaged"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "a")
			must(t, os.CopyFS(dir, os.DirFS(whole)))
			c.do(t, dir)
			w.comesTo(t, c.says, dir)
		})
	}
}

var states = []string{"missing", "empty", "torn", "older", "foreign"}

// A world has a directory with everything in it, and those whose parts it may come to have.
type world struct {
	ours, older, running, theirs string
	id                           string
	directory                    string // what ours is called
	term, vote                   uint64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{id: "node"}
	w.ours, w.older, w.running, _ = grownDirectory(t, w.id)
	w.theirs, _, _, _ = grownDirectory(t, w.id)
	for i, dir := range []string{w.older, w.running, w.ours, w.theirs} {
		keep(heardKey, fmt.Appendf(nil, `{"Writes":{"of a peer":%d},"Latest":{"a peer":"of a peer"}}`, 10+i))(t, dir)
	}
	m, err := readMarker(w.ours)
	must(t, err)
	w.directory = m.Directory
	w.term, w.vote = votes(t, w.ours)
	return w
}

// with returns a copy of the directory with some parts in a state.
func (w *world) with(t *testing.T, parts map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	must(t, os.CopyFS(dir, os.DirFS(w.ours)))
	for part, state := range parts {
		switch from := map[string]string{"older": w.older, "of the same start": w.running, "foreign": w.theirs}[state]; {
		case state == "whole":
		case part == logFile, part == markerFile, part == snapFolder, part == "lock", part == metaFile, part == stateFile:
			spoilFile(t, place(t, dir, part), state, from, part)
		default:
			w.spoilKey(t, dir, []byte(part), state, from)
		}
	}
	return dir
}

// place is where a part is: of a snapshot in the newest one.
func place(t *testing.T, dir, part string) string {
	t.Helper()
	if part == metaFile || part == stateFile {
		return filepath.Join(dir, snapFolder, newestSnapshot(t, dir), part)
	}
	return filepath.Join(dir, part)
}

func spoilFile(t *testing.T, path, state, from, part string) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	switch {
	case state == "torn" && info.IsDir():
		spoilFile(t, place(t, filepath.Dir(path), stateFile), state, from, stateFile)
	case state == "torn":
		must(t, os.Truncate(path, info.Size()/8))
	case state == "empty" && !info.IsDir():
		must(t, os.Truncate(path, 0))
	default:
		must(t, os.RemoveAll(path))
	}
	switch {
	case state == "empty" && info.IsDir():
		must(t, os.Mkdir(path, 0o700))
	case from != "" && info.IsDir():
		must(t, os.CopyFS(path, os.DirFS(place(t, from, part))))
	case from != "":
		must(t, os.WriteFile(path, readFile(t, place(t, from, part)), 0o600))
	}
}

func (w *world) spoilKey(t *testing.T, dir string, key []byte, state, from string) {
	t.Helper()
	value := valueOf(t, dir, key)
	switch state {
	case "missing":
		value = nil
	case "empty":
		value = []byte{}
	case "torn":
		value = value[:len(value)/2]
	default:
		if value = valueOf(t, from, key); string(key) == string(ownerKey) && state == "foreign" {
			value = []byte("elsewhere")
		}
	}
	keep(key, value)(t, dir)
}

func valueOf(t *testing.T, dir string, key []byte) (value []byte) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, logFile), 0o600, &bbolt.Options{ReadOnly: true})
	must(t, err)
	must(t, db.View(func(tx *bbolt.Tx) error {
		value = append(value, tx.Bucket([]byte("conf")).Get(key)...)
		return nil
	}))
	must(t, db.Close())
	return value
}

// votes returns the term that a node knows, and the last one in which it voted; 0: none.
func votes(t *testing.T, dir string) (term, vote uint64) {
	t.Helper()
	inLog(t, dir, func(bolt *raftboltdb.BoltStore) {
		term, _ = numberAt(bolt, termKey)
		vote, _ = numberAt(bolt, votedKey)
	})
	return term, vote
}

// comesTo starts a node on a directory.
func (w *world) comesTo(t *testing.T, want, dir string) {
	t.Helper()
	before := contents(t, dir)
	c := Config{ID: w.id, Dir: dir, Peers: []Peer{{w.id, freeAddress(t)}}, Timing: 400 * time.Millisecond}
	n, err := open(timeout(t, 20*time.Second), c)
	if want != "" || err != nil {
		w.refused(t, "it", want, dir, before, err)
		if err == nil {
			must(t, n.Close())
		}
		return
	}
	eventually(t, "all that was acknowledged", func() bool {
		v, err := n.Look(timeout(t, 5*time.Second), ledger.Mark{}, "r")
		return err == nil && v.Standings[0].Floor >= lastFloor
	})
	must(t, n.Close())
	if text := w.forgot(t, dir); text != "" {
		t.Error(text)
	}
}

func (w *world) refused(t *testing.T, what, want, dir, before string, err error) {
	t.Helper()
	if err == nil || !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%s: want ErrPermanent with %q and the directory, got %v", what, want, err)
	}
	if after := contents(t, dir); after != before {
		t.Errorf("%s: refused, and the directory was changed", what)
	}
}

// forgot says what a directory lacks of ours; "": nothing.
func (w *world) forgot(t *testing.T, dir string) string {
	t.Helper()
	m, err := readMarker(dir)
	must(t, err)
	if term, vote := votes(t, dir); m.Directory != w.directory || m.ID != w.id || term < w.term || vote < w.vote {
		return fmt.Sprintf("%+v knows term %d and a vote in %d, want %s with %d and %d", m, term, vote, w.directory, w.term, w.vote)
	}
	return ""
}
