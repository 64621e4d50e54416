package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestVoterOfAnotherGroupEnds with the reason: one that neither votes nor ends would be
// counted on.
func TestVoterOfAnotherGroupEnds(t *testing.T) {
	t.Parallel()
	dirs := [2]string{t.TempDir(), t.TempDir()}
	var lists [2]string
	for i := range lists {
		lists[i] = stores.List(stores.Peers(t, "a", "b", "c"))
	}
	voter := func(ctx context.Context, group int, id, dir string) (done chan int, said *lab.Said) {
		done, said = make(chan int, 1), new(lab.Said)
		go func() {
			done <- execute(ctx, []string{"raft-voter", "--id", id, "--raft-dir", dir, "--raft-peers", lists[group], "--ttl", "2s"}, new(bytes.Buffer), said)
		}()
		return done, said
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stops := map[string]func(){}
	for group := range lists {
		for _, id := range []string{"a", "b", "c"} {
			ctx, stop := context.WithCancel(ctx)
			done, _ := voter(ctx, group, id, filepath.Join(dirs[group], id))
			stops[fmt.Sprint(group, id)] = func() { stop(); <-done }
		}
	}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for _, list := range lists {
		peers, err := raft.ParsePeers(list)
		must(t, err)
		answer, cancel := context.WithTimeout(ctx, 20*time.Second)
		_, err = raft.Inspect(answer, raft.Config{Peers: peers})
		cancel()
		must(t, err)
	}
	for _, one := range []string{"0a", "1a"} {
		stops[one]()
		delete(stops, one)
	}
	must(t, os.RemoveAll(filepath.Join(dirs[0], "a")))
	must(t, os.Rename(filepath.Join(dirs[1], "a"), filepath.Join(dirs[0], "a")))
	done, said := voter(ctx, 0, "a", filepath.Join(dirs[0], "a"))
	select {
	case code := <-done:
		if code == 0 || !strings.Contains(said.String(), "the data directory of another group") {
			t.Errorf("exit code %d, said %s", code, said)
		}
	case <-time.After(20 * time.Second):
		t.Error("it goes on")
		stop()
		<-done
	}
}
