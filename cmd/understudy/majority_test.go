package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestMajorityThatLostItsDirectories: two of three voters come back on empty directories. Nobody
// can lead that group any more: each of them says so, with the way out, and so do status and plan.
func TestMajorityThatLostItsDirectories(t *testing.T) {
	var items []string
	for _, id := range []string{"a", "b", "c"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		must(t, l.Close())
		items = append(items, id+"="+l.Addr().String())
	}
	list, dir := strings.Join(items, ","), t.TempDir()
	start := func(id string) (log string, stop func()) {
		log = filepath.Join(dir, id+".log")
		errs, err := os.Create(log)
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan int, 1)
		go func() {
			done <- execute(ctx, []string{"raft-voter", "--id", id, "--raft-dir", filepath.Join(dir, id), "--raft-peers", list, "--ttl", "2s"}, new(bytes.Buffer), errs)
		}()
		stop = func() {
			cancel()
			if code := <-done; code != 0 {
				t.Errorf("%s ends with %d", id, code)
			}
			must(t, errs.Close())
		}
		return log, stop
	}
	ask := func(args ...string) string {
		var out lab.Said
		execute(t.Context(), append(args, "--raft-peers", list), &out, &out)
		return out.String()
	}
	var stops []func()
	for _, id := range []string{"a", "b", "c"} {
		_, stop := start(id)
		stops = append(stops, stop)
	}
	if said := ask("token-floor", "--role", "r", "--above", "100", "--timeout", "20s"); !strings.Contains(said, "greater than") {
		t.Fatal(said)
	}
	for _, stop := range stops {
		stop()
	}
	must(t, os.RemoveAll(filepath.Join(dir, "a")))
	must(t, os.RemoveAll(filepath.Join(dir, "b")))
	const want, cure = "the group has lost its majority: the data directories of a, b are empty", "understudy raft recover"
	for _, id := range []string{"a", "b", "c"} {
		log, stop := start(id)
		defer stop()
		defer lab.Eventually(t, id+" says what is lost, and the way out", func() bool {
			text, err := os.ReadFile(log)
			return err == nil && strings.Contains(string(text), want) && strings.Contains(string(text), cure)
		})
	}
	for _, args := range [][]string{{"status", "--role", "r", "--timeout", "2s"}, {"plan"}, {"raft", "status"}} {
		lab.Eventually(t, args[0]+" says it", func() bool {
			said := strings.Join(strings.Fields(ask(args...)), " ") // plan breaks lines
			return strings.Count(said, want) == 1 && strings.Contains(said, cure)
		})
	}
	lostStatus(t, ask)
}

// lostStatus expects both status commands to promise nothing of a group that has lost its majority.
func lostStatus(t *testing.T, ask func(...string) string) {
	t.Helper()
	if said := ask("raft", "status"); strings.Contains(said, "may fail") || strings.Contains(said, `""`) || strings.Count(said, "waits on an empty data directory") != 2 || strings.Count(said, "unknown") < 6 {
		t.Errorf("raft status of a lost majority:\n%s", said)
	}
	if said := ask("status", "--role", "r", "--timeout", "2s"); strings.Contains(said, "may fail") {
		t.Errorf("status of a lost majority:\n%s", said)
	}
	var r groupReport
	must(t, json.Unmarshal([]byte(ask("raft", "status", "-o", "json")), &r))
	if r.Margin != -1 || len(r.Members) != 3 {
		t.Fatalf("%+v", r)
	}
	for _, m := range r.Members {
		if m.Behind != nil {
			t.Errorf("nobody leads, and %s is %d behind", m.ID, *m.Behind)
		}
	}
}
