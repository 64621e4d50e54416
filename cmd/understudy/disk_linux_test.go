package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestFullDisk fills the disk of one of three nodes, first of a standby and then of the
// active: its log takes nothing any more, so its watches show nothing new, but the others
// commit its beats. The role does not stay there, and the node says why.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, whose := range []string{"standby", "active"} {
		t.Run(whose, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onRaft)
			disk := filepath.Join(r.dir, "a")
			if err := os.Mkdir(disk, 0o700); err != nil {
				t.Fatal(err)
			}
			// A disk of its own, in a mount namespace of its own.
			script := `mount -t tmpfs -o size=1m none "$0" && exec "$@"`
			r.through = map[string][]string{"a": {"unshare", "--map-root-user", "--mount", "sh", "-c", script, disk}}
			first, others := "b", []string{"a", "c"}
			if whose == "active" {
				first, others = "a", []string{"b", "c"}
			}
			for _, id := range append([]string{first}, others...) {
				r.start(id, "--priority", fmt.Sprint(map[bool]int{true: 1}[id == first]))
			}
			now := r.active(0)
			r.inLine(2)
			if now.id != first {
				r.expect(0, "-> "+first, "handoff", "--role", "r", "--to", first)
				now = r.active(now.token)
				r.inLine(2)
			}
			full := fmt.Sprintf("/proc/%d/root%s/fill", r.procs["a"].Process.Pid, disk)
			fillDisk(t, full)
			if whose == "standby" {
				if _, said := r.operate("handoff", "--role", "r", "--to", "a", "--timeout", "5s"); !strings.Contains(said, "a did not answer") {
					t.Errorf("handed to a node whose disk is full: %s", said)
				}
			} else {
				now = r.active(now.token)
			}
			if now.id == "a" {
				t.Error("a works on a full disk")
			}
			r.awaitLog("a", "does not follow its group's log")
			if _, since, _ := strings.Cut(r.log("a"), "does not follow its group's log"); strings.Contains(since, "the store answers again") || strings.Contains(since, "active=nobody") {
				t.Errorf("a says of a store that does not answer it:\n%s", since)
			}
			if strings.Contains(r.log("a"), "can write raft.db again") {
				t.Errorf("a says that it can write, and its disk is full:\n%s", r.log("a"))
			}
			must(t, os.Remove(full))
			r.awaitLog("a", "can write raft.db again")
			r.inLine(2)
			r.judge()
		})
	}
}

// fillDisk fills the disk on which path is.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// TestAnswerOnAFullDisk: an answer that cannot be written is no mistake of the command line, and no success.
func TestAnswerOnAFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	for _, args := range [][]string{{"plan"}, {"plan", "-o", "json"}, {"version"}, {"version", "-o", "json"}, {"config", "show"}, {"config", "schema"}} {
		var errs bytes.Buffer
		if code := execute(t.Context(), args, full, &errs); code != cli.NotDone || !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("%q: code %d, want %d, and %s", args, code, cli.NotDone, errs.String())
		}
	}
}
