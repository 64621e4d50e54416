package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab/stores"
	"github.com/understudy-ha/understudy/lock"
)

// outage starts a store, and returns what makes it unreachable, and reachable again.
func outage(t *testing.T, name string) (c backends.Config, down, up func()) {
	if name == onRaft {
		return raftOutage(t)
	}
	s := stores.Start(t, name, t.TempDir())
	server := s.Cluster.Members[0]
	return s.Config, server.Kill, func() {
		if err := server.Restart(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// raftOutage has a group of the contender, a, and of two voters, which end and come back.
func raftOutage(t *testing.T) (backends.Config, func(), func()) {
	dir := t.TempDir()
	c := raft.Config{ID: "a", Dir: filepath.Join(dir, "a"), Timing: 200 * time.Millisecond, Peers: stores.Peers(t, "a", "b", "c")}
	voters, open := make(chan lock.Locker, 2), 0
	up := func() {
		for _, id := range []string{"b", "c"} {
			v := c
			v.ID, v.Dir = id, filepath.Join(dir, id)
			open++
			go func() {
				l, err := raft.Open(t.Context(), v)
				if err != nil {
					t.Error(err)
				}
				voters <- l
			}()
		}
	}
	down := func() {
		for ; open > 0; open-- {
			if l := <-voters; l != nil {
				_ = l.Close()
			}
		}
	}
	up()
	t.Cleanup(down)
	return backends.Config{Backend: "raft", Raft: c}, down, up
}

// TestObserveOutage follows an active through an outage of the store: it is told of it
// once, with the last that is known, and again when the store is back.
func TestObserveOutage(t *testing.T) {
	t.Parallel()
	for _, name := range stores.Names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where, down, up := outage(t, name)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			open, dial := opened(t, ctx, where)
			contender, stop := context.WithCancel(ctx)
			done := make(chan error, 1)
			go func() {
				config := coordinator.Config{ID: "a", Address: "here:1", Roles: []lock.Bid{{Role: "r"}}, TTL: 2 * time.Second, Logger: slog.New(slog.DiscardHandler)}
				done <- coordinator.Run(contender, open, config, func(ctx context.Context, _ coordinator.Term) error { <-ctx.Done(); return nil })
			}()
			var first lock.Token
			told := 0
			for term, err := range coordinator.Observe(ctx, dial, "r") {
				switch {
				case err != nil && first == 0: // the store comes up
				case err != nil:
					if told++; told > 1 || term.Token != first || term.Holder.Address != "here:1" {
						t.Errorf("told %d times, beside %v: %+v", told, err, term)
					}
					up()
				case first == 0 && !term.Vacant():
					first = term.Token
					down()
				}
				if err == nil && told > 0 && !term.Vacant() {
					break
				}
			}
			if ctx.Err() != nil {
				t.Errorf("the active was not seen again; the outage was told %d times", told)
			}
			stop()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// opened opens the store as a contender, and as one who only looks.
func opened(t *testing.T, ctx context.Context, c backends.Config) (open, dial lock.Locker) {
	t.Helper()
	open, err := backends.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = open.Close() })
	c.Raft.ID = ""
	if dial, err = backends.Dial(ctx, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dial.Close() })
	return open, dial
}
