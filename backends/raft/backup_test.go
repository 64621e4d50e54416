package raft

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// TestOnlyNodesSaveAndRestore: a backup has values, which an operator's certificate does not give.
func TestOnlyNodesSaveAndRestore(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	g := newGroup(t, 3, func(c *Config) { a.give(c, c.ID) }).start()
	g.leader()
	node, operator := g.configs[0], Config{Peers: g.configs[0].Peers}
	a.give(&operator, "operator")
	ctx := timeout(t, 20*time.Second)
	b, err := Save(ctx, node)
	must(t, err)
	_, err = Save(ctx, operator)
	_, restoreErr := Restore(ctx, operator, b, 0)
	for _, err := range []error{err, restoreErr} {
		if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), `yours names "operator"`) {
			t.Errorf("got %v", err)
		}
	}
	now, err := Restore(ctx, node, b, 0)
	if must(t, err); now.saved.Last < b.Above || now.Group() != b.Group() {
		t.Errorf("%s after %s", now, b)
	}
}

// TestRecoverIsWhatTheGroupHas: a directory adds up to what the node that had it would save, from
// snapshots and log.
func TestRecoverIsWhatTheGroupHas(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, func(c *Config) { c.snapshots = snapshots{threshold: 16, trailing: 4, interval: 10 * time.Millisecond} }).start()
	s := register(t, g.lockers[0], "a")
	token := acquire(t, s)
	values := g.lockers[0].(lock.Values)
	write := func(key string) {
		_, err := values.Write(timeout(t, 5*time.Second), "r", token, map[string][]byte{key: []byte(key)}, nil)
		must(t, err)
	}
	write("early")
	eventually(t, "a snapshot", func() bool {
		_ = s.Beat(timeout(t, 5*time.Second))
		return g.nodes[0].dir.read().Kept > 40
	})
	write("late")
	want, err := Save(timeout(t, 5*time.Second), g.configs[0])
	must(t, err)
	g.stop(0)
	before := fingerprint(t, g.configs[0].Dir)
	got, c, err := Recover(g.configs[0].Dir)
	must(t, err)
	if fingerprint(t, g.configs[0].Dir) != before {
		t.Error("the directory was changed")
	}
	if got.Node != "a" || got.Group() != want.Group() || got.Last() < want.Last() || got.Last() != c.Last || got.Term == 0 ||
		string(got.saved.Values["early"]) != "early" || string(got.saved.Values["late"]) != "late" || got.saved.Last < token || got.Above <= want.saved.Last {
		t.Errorf("%+v, want %+v", got, want)
	}
	remove("snapshots")(t, g.configs[0].Dir)
	if _, _, err := Recover(g.configs[0].Dir); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "leave it out") {
		t.Errorf("of a part: %v", err)
	}
}

// TestOnlyARestoreNeedsANewerProgram: a save changes nothing, and a node that does not know it refuses
// it alike.
func TestOnlyARestoreNeedsANewerProgram(t *testing.T) {
	t.Parallel()
	for op, want := range map[ledger.Op]int{ledger.Save: plain, ledger.Restore: restored} {
		if got := formatOf(ledger.Command{Op: op}); got != want {
			t.Errorf("%s has format %d, want %d", op, got, want)
		}
	}
}

// TestNewestBackup knows most, whatever its place; those of two groups are no choice.
func TestNewestBackup(t *testing.T) {
	t.Parallel()
	of := func(group string, term, last uint64) *Backup {
		b, err := newBackup(ledger.Backup{Identity: group, Revision: last}, "a", term)
		must(t, err)
		return b
	}
	young, long, old := of("G", 3, 5), of("G", 3, 9), of("G", 2, 99)
	for _, all := range [][]*Backup{{young, long, old}, {old, long, young}, {long, old, young}} {
		if b, err := Newest(all); err != nil || b != long {
			t.Errorf("%s, %v", b, err)
		}
	}
	if _, err := Newest([]*Backup{long, of("H", 1, 1)}); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "two groups, G and H") {
		t.Errorf("%v", err)
	}
}

// TestBackupFileIsWhole: each cut of it is noticed.
func TestBackupFileIsWhole(t *testing.T) {
	t.Parallel()
	b, err := newBackup(ledger.Backup{Identity: "G", Revision: 5, Last: 7, Values: map[string][]byte{"k<>&": []byte("v")}}, "a", 1)
	must(t, err)
	file := filepath.Join(t.TempDir(), "backup")
	must(t, b.Write(file))
	read, err := ReadBackup(file)
	if must(t, err); read.Above != b.Above || string(read.saved.Values["k<>&"]) != "v" || read.String() != b.String() {
		t.Errorf("%s, want %s", read, b)
	}
	if err := b.Write(file); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "already") {
		t.Errorf("written twice: %v", err)
	}
	if _, err := ReadBackup(filepath.Dir(file)); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
	size := int64(len(readFile(t, file)))
	for n := size - 2; n >= 0; n -= 7 {
		cut("backup", n)(t, filepath.Dir(file))
		if _, err := ReadBackup(file); !errors.Is(err, lock.ErrPermanent) {
			t.Fatalf("cut to %d of %d bytes: %v", n, size, err)
		}
	}
}
