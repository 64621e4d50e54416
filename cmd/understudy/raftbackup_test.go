package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
	"github.com/understudy-ha/understudy/lock"
)

// A keptGroup is three voters in which something is kept, and a client that has seen it.
type keptGroup struct {
	t       *testing.T
	dir     string
	peers   []raft.Peer
	stops   map[string]func()
	client  lock.Locker
	session lock.Session
	token   lock.Token // of the last term
}

func newKeptGroup(t *testing.T) *keptGroup {
	t.Helper()
	g := &keptGroup{t: t, dir: t.TempDir(), peers: stores.Peers(t, "a", "b", "c")}
	g.vote()
	var err error
	g.client, err = raft.Dial(raft.Config{Peers: g.peers})
	must(t, err)
	t.Cleanup(func() { must(t, g.client.Close()) })
	g.take()
	ctx := lab.Within(t, time.Minute)
	_, err = g.client.(lock.Values).Write(ctx, "r", g.token, map[string][]byte{"k": []byte("v")}, nil)
	must(t, err)
	op := g.client.(lock.Operator)
	must(t, errors.Join(op.Pause(ctx, "paused", lock.Pause{By: "op", Why: "trial"}), op.Configure(ctx, "x", lock.Settings{By: "op", Drained: true})))
	return g
}

// vote starts the voters on the directories that are there, or on empty ones.
func (g *keptGroup) vote() {
	g.stops = map[string]func(){}
	for _, p := range g.peers {
		g.stops[p.ID] = votes(g.t, p.ID, filepath.Join(g.dir, p.ID), stores.List(g.peers))
	}
	led(g.t, g.peers)
}

func (g *keptGroup) stop() {
	for _, stop := range g.stops {
		stop()
	}
}

// take registers the client, and takes the role. Where an outcome is unknown it tries the same again.
func (g *keptGroup) take() {
	g.t.Helper()
	id := lock.SessionID(rand.Text())
	lab.Eventually(g.t, "the role", func() bool {
		ctx := lab.Within(g.t, time.Minute)
		s, err := g.client.Register(ctx, lock.Contender{ID: "x", Session: id}, lock.Promise{TTL: 2 * time.Second, Skew: time.Second}, lock.Bid{Role: "r"})
		if err != nil {
			return false
		}
		g.session = s
		g.token, err = s.TryAcquire(ctx, "r")
		return err == nil
	})
}

func (g *keptGroup) raft(command string, args ...string) (int, string) {
	return said(g.t, append(append([]string{"raft", command, "--raft-peers", stores.List(g.peers)}, "--timeout", "60s"), args...)...)
}

// kept fails unless all is there that newKeptGroup has written.
func (g *keptGroup) kept() {
	g.t.Helper()
	ctx := lab.Within(g.t, time.Minute)
	values, err := g.client.(lock.Values).Read(ctx)
	must(g.t, err)
	settings, err := g.client.(lock.Operator).Configured(ctx)
	must(g.t, err)
	st, err := standing(ctx, g.client, "paused")
	if must(g.t, err); string(values["k"]) != "v" || len(values) != 1 || !settings["x"].Drained || st.Pause.By != "op" {
		g.t.Errorf("%q, %+v, %+v", values, settings, st.Pause)
	}
}

// TestRaftBackup of a group that runs, with a contender in it, restored into the same group later.
func TestRaftBackup(t *testing.T) {
	t.Parallel()
	g := newKeptGroup(t)
	file := filepath.Join(t.TempDir(), "group.backup")
	if code, text := g.raft("backup", file); code != 0 || !strings.Contains(text, "1 paused roles, 1 contenders with settings, 1 values") {
		t.Fatalf("exit code %d, %s", code, text)
	}
	if code, text := g.raft("backup", file); code != cli.Usage || !strings.Contains(text, "there is such a file already") {
		t.Errorf("over a file: exit code %d, %s", code, text)
	}
	if code, text := g.raft("restore", file); code != cli.NotDone || !strings.Contains(text, `1 contenders are registered, such as "x"`) {
		t.Errorf("beside a contender: exit code %d, %s", code, text)
	}
	ctx := lab.Within(t, time.Minute)
	_, err := g.client.(lock.Values).Write(ctx, "r", g.token, map[string][]byte{"k": []byte("later"), "more": {}}, nil)
	must(t, errors.Join(err, g.client.(lock.Operator).Pause(ctx, "paused", lock.Pause{}), g.session.Close(ctx)))
	for range 2 {
		if code, text := g.raft("restore", file, "--above", "1"); code != 0 || !strings.Contains(text, "every later token is greater than") {
			t.Fatalf("exit code %d, %s", code, text)
		}
	}
	g.kept()
	before := g.token
	if g.take(); g.token <= before+raft.Beyond {
		t.Errorf("a promise is broken: token %d after %d", g.token, before)
	}
}

// TestRaftRecover after two of three directories are lost: a new group has all that the third one
// knew, no token goes back, and who has seen the old group goes on.
func TestRaftRecover(t *testing.T) {
	t.Parallel()
	g := newKeptGroup(t)
	must(t, g.session.Close(lab.Within(t, time.Minute)))
	_, old := g.raft("status", "-o", "json")
	a, b, to := filepath.Join(g.dir, "a"), filepath.Join(g.dir, "b"), filepath.Join(t.TempDir(), "a.backup")
	if code, text := said(t, "raft", "recover", "--out", to, a); code != cli.NotDone || !strings.Contains(text, "in use by process") {
		t.Errorf("of a node that runs: exit code %d, %s", code, text)
	}
	g.stop()
	for want, args := range map[string][]string{
		"--out FILE":                  {a},
		"2 must be: start these":      {"--out", to, a, b},
		"it holds nothing of a node":  {"--out", to, a, t.TempDir()},
		"are both of node a":          {"--out", to, a, a},
		"takes at least one argument": {"--out", to},
	} {
		wanted := cli.NotDone
		if len(args) < 3 { // one of them is missing
			wanted = cli.Usage
		}
		if code, text := said(t, append([]string{"raft", "recover"}, args...)...); code != wanted || !strings.Contains(text, want) {
			t.Errorf("want %q, got exit code %d, %s", want, code, text)
		}
	}
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was written: %v", err)
	}
	if code, text := said(t, "raft", "recover", "--out", to, a); code != 0 || !strings.Contains(text, "node a knows most") || !strings.Contains(text, "all that only b, c knew") {
		t.Fatalf("exit code %d, %s", code, text)
	}
	must(t, os.Rename(g.dir, filepath.Join(t.TempDir(), "away")))
	g.vote()
	defer g.stop()
	code, text := g.raft("restore", to)
	if code != 0 {
		t.Fatalf("exit code %d, %s", code, text)
	}
	g.kept() // by a client that has seen the old group
	before := g.token
	if g.take(); g.token <= before+raft.Beyond {
		t.Errorf("a promise is broken: token %d after %d", g.token, before)
	}
	var was, is groupReport
	_, now := g.raft("status", "-o", "json")
	if must(t, errors.Join(json.Unmarshal([]byte(old), &was), json.Unmarshal([]byte(now), &is))); was.Group == is.Group || is.Group == "" {
		t.Errorf("the group is %s, and was %s", is.Group, was.Group)
	}
	if code, text := said(t, "raft", "recover", "--out", to, a); code != cli.Usage {
		t.Errorf("exit code %d, %s", code, text)
	}
}

// TestBadBackup is refused by name, before anybody is asked.
func TestBadBackup(t *testing.T) {
	// summed gives a backup its right sum.
	summed := func(t *testing.T, text string) string {
		sum := sha256.Sum256([]byte(strings.Replace(text, "SUM", "", 1)))
		return strings.Replace(text, "SUM", hex.EncodeToString(sum[:]), 1)
	}
	t.Parallel()
	dir := t.TempDir()
	good := `{"Format":1,"At":"2026-01-02T03:04:05Z","Node":"","Term":0,"Above":7,"Sum":"SUM","Ledger":{"Identity":"A","Revision":1,"Last":7}}`
	for says, text := range map[string]string{
		"it has format 2, this program reads 1": strings.Replace(good, `"Format":1`, `"Format":2`, 1),
		"it is cut short, or no backup":         good[:len(good)-9],
		"it was changed: its sum is another":    good,
		"no backup: give":                       "{}",
		"tokens begin above 7, and they went":   summed(t, good),
	} {
		file := filepath.Join(dir, "f")
		must(t, os.WriteFile(file, []byte(text), 0o600))
		if code, text := said(t, "raft", "restore", file, "--raft-peers", "a=127.0.0.1:1", "--timeout", "1s"); code != cli.NotDone || !strings.Contains(text, says) || !strings.Contains(text, file) {
			t.Errorf("want %q, got exit code %d, %s", says, code, text)
		}
	}
	if code, text := said(t, "raft", "restore", filepath.Join(dir, "none"), "--raft-peers", "a=127.0.0.1:1"); code != cli.Usage || !strings.Contains(text, "no such file") {
		t.Errorf("exit code %d, %s", code, text)
	}
}
