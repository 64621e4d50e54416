package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// said runs one command line, and returns its exit code and all that it says.
func said(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out lab.Said
	code := execute(t.Context(), args, &out, &out)
	return code, out.String()
}

// votes runs a voter until the function that it returns is called.
func votes(t *testing.T, id, dir, peers string, more ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done, out := make(chan int, 1), new(lab.Said)
	go func() {
		done <- execute(ctx, append([]string{"raft-voter", "--id", id, "--raft-dir", dir, "--raft-peers", peers, "--ttl", "5s"}, more...), out, out)
	}()
	var over bool
	stop = func() {
		if over {
			return
		}
		over = true
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("voter %s ended with %d: %s", id, code, out)
		}
	}
	t.Cleanup(stop)
	return stop
}

// led waits until the group has a leader.
func led(t *testing.T, peers []raft.Peer, files ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := raft.Config{Peers: peers}
	if len(files) == 3 {
		c.CAFile, c.CertFile, c.KeyFile = files[0], files[1], files[2]
	}
	_, err := raft.Inspect(ctx, c)
	must(t, err)
}

func TestRaftCheck(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a")
	peers := stores.Peers(t, "a")
	stop := votes(t, "a", dir, stores.List(peers))
	led(t, peers)
	if code, text := said(t, "raft", "check", dir); code != unread || !strings.Contains(text, "in use by process") {
		t.Errorf("of a node that runs: exit code %d, %s", code, text)
	}
	stop()
	if code, text := said(t, "raft", "check", dir); code != 0 || !strings.Contains(text, "of node a") || !strings.Contains(text, "it is whole") {
		t.Errorf("exit code %d, %s", code, text)
	}
	must(t, os.Truncate(filepath.Join(dir, "raft.db"), 100))
	code, text := said(t, "raft", "check", "-o", "json", dir)
	var c raft.Checkup
	must(t, json.Unmarshal([]byte(text), &c))
	if code != cli.NotDone || !strings.Contains(c.Damage, "raft.db is damaged") || c.Cure == "" || c.Node != "a" {
		t.Errorf("exit code %d, %+v", code, c)
	}
	if code, text := said(t, "raft", "check", dir); code != cli.NotDone || !strings.Contains(text, "DAMAGED: raft.db is damaged") || !strings.Contains(text, "what to do: put no copy of it back") ||
		strings.Contains(text, "unknown") || strings.Contains(text, " 0") {
		t.Errorf("exit code %d, %s", code, text)
	}
	must(t, os.Remove(filepath.Join(dir, "raft.db")))
	if _, text := said(t, "raft", "check", "-o", "json", dir); strings.Contains(text, `"writes"`) || strings.Contains(text, `"term"`) {
		t.Errorf("of a raft.db that is gone: %s", text)
	}
}

// TestUnknownSubcommand is a mistake, and not a wish for help.
func TestUnknownSubcommand(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"raft", "chek", "x"}, {"config", "shwo"}, {"raft", "member", "ad", "d"}} {
		code, text := said(t, args...)
		if code != cli.Usage || !strings.Contains(text, "did you mean") {
			t.Errorf("%s: exit code %d, %s", args, code, text)
		}
	}
	if code, text := said(t, "raft", "check"); code != cli.Usage || !strings.Contains(text, "DIR, the data directory") {
		t.Errorf("exit code %d, %s", code, text)
	}
}

// TestSecondNodeEnds, with what to do, while the first one runs: on its directory, at its address, or elsewhere.
func TestSecondNodeEnds(t *testing.T) {
	t.Parallel()
	dir, peers := t.TempDir(), stores.Peers(t, "a")
	defer votes(t, "a", filepath.Join(dir, "a"), stores.List(peers))()
	led(t, peers)
	for _, test := range []struct {
		code int
		want string
		args []string
	}{
		{cli.Lacking, "is in use by process", []string{"a"}}, // the other one may be about to end
		{cli.Lacking, "cannot listen on " + peers[0].Address, []string{"b"}},
		{cli.Held, `another process runs as node "a" and answers at its address`, []string{"b", "--raft-bind", stores.Peers(t, "x")[0].Address}},
	} {
		args := append([]string{"raft-voter", "--id", "a", "--raft-peers", stores.List(peers), "--raft-dir", filepath.Join(dir, test.args[0])}, test.args[1:]...)
		if code, text := said(t, args...); code != test.code || !strings.Contains(text, test.want) {
			t.Errorf("%v: exit code %d, want %d and %q\n%s", args, code, test.code, test.want, text)
		}
	}
}

// lastOfEach leaves out a flag that is given again later: what one test gives takes the place of what all have.
func lastOfEach(args []string) (kept []string) {
	var groups [][]string
	for _, arg := range args {
		if strings.HasPrefix(arg, "--") || len(groups) == 0 {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], arg)
	}
	name := func(group []string) string { name, _, _ := strings.Cut(group[0], "="); return name }
	for i, group := range groups {
		again := slices.ContainsFunc(groups[i+1:], func(later []string) bool { return name(later) == name(group) })
		if !again || name(group) == "--label" {
			kept = append(kept, group...)
		}
	}
	return kept
}
