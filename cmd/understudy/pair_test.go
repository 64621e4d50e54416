package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestTwoVoters: a pair is told at its start, by plan and by status that it survives no
// failure, whether it is there or not.
func TestTwoVoters(t *testing.T) {
	t.Parallel()
	peers := stores.Peers(t, "a", "b")
	list := stores.List(peers)
	const want = "two voters survive no failure"
	ask := func(args ...string) {
		t.Helper()
		var out, errs lab.Said
		execute(t.Context(), append(args, "--raft-peers", list), &out, &errs)
		if n := strings.Count(out.String()+errs.String(), want); n != 1 {
			t.Errorf("%q says it %d times:\n%s%s", args, n, out.String(), errs.String())
		}
	}
	ask("plan")
	ask("status", "--role", "r", "--timeout", "500ms")

	ctx, stop := context.WithCancel(t.Context())
	dir, said, done := t.TempDir(), map[string]*lab.Said{}, make(chan int, 2)
	for _, id := range []string{"a", "b"} {
		errs := new(lab.Said)
		said[id] = errs
		go func() {
			done <- execute(ctx, []string{"raft-voter", "--id", id, "--raft-dir", filepath.Join(dir, id), "--raft-peers", list, "--ttl", "2s"}, new(bytes.Buffer), errs)
		}()
	}
	answer, cancel := context.WithTimeout(ctx, 20*time.Second)
	_, err := raft.Inspect(answer, raft.Config{Peers: peers})
	cancel()
	ask("plan")
	ask("status", "--role", "r")
	stop()
	<-done
	<-done
	must(t, err)
	for id, text := range said {
		if n := strings.Count(text.String(), want); n != 1 {
			t.Errorf("%s says it %d times:\n%s", id, n, text)
		}
	}
}
