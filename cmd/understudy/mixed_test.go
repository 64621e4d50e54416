//go:build mixed

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// earlier is a commit before entries, terms and votes of embedded Raft had sums. A program of it reads up to format 7.
const earlier = "af706d2f9c31c80599571c5ee0275cd35fdbce52"

// builtOf builds a commit of this repository.
func builtOf(t *testing.T, commit string) (program string) {
	t.Helper()
	if out, err := exec.Command("git", "rev-parse", "--is-shallow-repository").CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "false" {
		t.Fatalf("this test builds commit %s, and the repository has not its whole history: git fetch --unshallow\n%s %v", commit, out, err)
	}
	dir := t.TempDir()
	script := `git -C "$(git rev-parse --show-toplevel)" archive "$1" | tar -x -C "$2" && cd "$2" && CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -o understudy ./cmd/understudy`
	if out, err := exec.Command("bash", "-o", "pipefail", "-c", script, "bash", commit, dir).CombinedOutput(); err != nil {
		t.Fatalf("build commit %s: %v\n%s", commit, err, out)
	}
	return filepath.Join(dir, "understudy")
}

// TestMixedBuilds brings a group from an earlier build to this one, node by node and under load, and one node back. In
// every mixture a node of either build leads Raft and another follows, and one of either build is active while
// another stands by.
func TestMixedBuilds(t *testing.T) {
	programs := map[bool]string{false: builtOf(t, earlier), true: filepath.Join(shipped(t), "understudy")}
	r := newTrio(t, onRaft)
	r.ttl = 5 * time.Second  // no election takes as long, however busy the machine is
	now := map[string]bool{} // whether a node runs this build
	start := func(id string) {
		r.program = programs[now[id]]
		r.start(id)
	}
	again := func(id string) {
		r.kill(id, syscall.SIGTERM)
		start(id)
		r.inLine(2)
	}
	for _, id := range r.ids {
		start(id)
	}
	r.inLine(2)
	acknowledged := r.load()
	for _, id := range []string{"a", "b", "c", "a"} {
		now[id] = !now[id]
		again(id)
		for _, this := range []bool{false, true} {
			whose := ""
			for _, id := range r.ids {
				if now[id] == this {
					whose = id
				}
			}
			if whose == "" { // nobody runs that build
				continue
			}
			for leader := r.leader(""); now[leader] != this; leader = r.leader("") {
				again(leader)
			}
			if was := r.active(0); was.id != whose {
				r.handoff(whose)
				if is := r.active(was.token); is.id != whose {
					t.Errorf("%s is active, and %s was asked to be", is.id, whose)
				}
				r.inLine(2)
			}
			before := acknowledged.Load()
			r.eventually("something is committed", func() bool { return acknowledged.Load() > before })
			t.Logf("this build: %v; %s leads, and %s is active", now, r.leader(""), whose)
		}
	}
	r.judge()
}
