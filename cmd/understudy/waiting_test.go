package main

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestWaitIsTold: a command that waits for a store that is not there says so soon, and where that is,
// and ends in its time with 69.
func TestWaitIsTold(t *testing.T) {
	t.Parallel()
	peers := stores.List(stores.Peers(t, "a", "b", "c")) // where nobody listens
	var all sync.WaitGroup
	for _, args := range [][]string{
		{"handoff", "--role", "r"},
		{"step-down", "--role", "r"},
		{"pause", "--role", "r"},
		{"resume", "--role", "r"},
		{"drain", "--id", "a"},
		{"priority", "--id", "a", "--role", "r", "3"},
		{"evict", "--id", "a"},
		{"evict", "--role", "r"},
		{"token-floor", "--role", "r", "--above", "3"},
		{"adopt", "--identity", strings.Repeat("A", 26)},
		{"history", "--role", "r"},
		{"why"},
		{"status"},
		{"status", "--watch"},
	} {
		all.Go(func() {
			var said lab.Said
			began := time.Now()
			code := execute(t.Context(), append(args, "--timeout", "2s", "--raft-peers", peers), io.Discard, &said)
			text := said.String()
			if code != cli.Unavailable || time.Since(began) > 10*time.Second {
				t.Errorf("%q: code %d after %v, want %d within its time:\n%s", args, code, time.Since(began), cli.Unavailable, text)
			}
			first, rest, _ := strings.Cut(text, "\n")
			if want := "understudy: waiting for the store raft at " + peers; !strings.HasPrefix(first, want) || !strings.Contains(rest, "connection refused") {
				t.Errorf("%q: want first %q, and at last why:\n%s", args, want, text)
			}
		})
	}
	all.Wait()
}

// TestEmptyStoreAnswers: that a store has no role is told of one that answers, and of no other.
func TestEmptyStoreAnswers(t *testing.T) {
	onServers(t, func(t *testing.T, r *trio) {
		for want, args := range map[string][]string{
			"the store has none": {"status", "--role", "r"}, "write --id ID; the store has none": {"evict"},
			`id "a": is neither active nor standing by in any role`: {"evict", "--id", "a"},
		} {
			var errs lab.Said
			execute(t.Context(), append(args, r.flags...), io.Discard, &errs)
			if text := errs.String(); !strings.Contains(text, want) || strings.Contains(text, "does not answer") || strings.Contains(text, "waiting") {
				t.Errorf("%q: want %q, and nothing else of the store:\n%s", args, want, text)
			}
		}
	})
}

// TestSlowElections: run warns of a Raft group whose elections are longer than what is ridden out.
func TestSlowElections(t *testing.T) {
	t.Parallel()
	for timing, want := range map[string]bool{"200ms": false, "1s": true} {
		r := newTrio(t, onRaft)
		r.start("a", "--raft-timing", timing)
		r.awaitLog("a", "empty data directory") // it comes after all that is told of the settings
		if told := strings.Contains(r.log("a"), "the active stops when the node dies that leads the Raft group"); told != want {
			t.Errorf("with a timing of %s it is told: %v\n%s", timing, told, r.log("a"))
		}
	}
}
