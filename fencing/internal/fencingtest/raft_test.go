package fencingtest

import (
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/fencing/fencingraft"
	"github.com/understudy-ha/understudy/lock"
)

// TestRaft speaks of the values through fencingraft, on the reference store, which
// applies what Raft applies; TestPaused has a real group.
func TestRaft(t *testing.T) {
	ctx, c := within(t, time.Minute), newContest(t, backends.Config{Backend: "memory"})
	s, token := c.term()
	mine, err := fencingraft.NewKV(c.Locker, "r", token)
	must(t, err)
	must(t, mine.Put(ctx, "k", []byte("1")))
	must(t, mine.Put(ctx, "empty", nil))
	if value, ok, err := mine.Get(ctx, "empty"); err != nil || !ok || len(value) != 0 {
		t.Fatal(value, ok, err)
	}
	must(t, mine.Write(ctx, map[string][]byte{"k": []byte("2"), "empty": nil}))
	for _, bad := range []string{"", "dir/", "\x00"} {
		if err := mine.Put(ctx, bad, nil); !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("key %q: %v", bad, err)
		}
	}
	if err := mine.Put(ctx, "k", make([]byte, fencingraft.MaxBytes+1)); !errors.Is(err, lock.ErrPermanent) {
		t.Errorf("too large: %v", err)
	}
	c.evict(s)
	_, next := c.term()
	wantStale(t, mine.Put(ctx, "k", []byte("stale")), token, next)
	all, err := mine.Read(ctx)
	if err != nil || len(all) != 1 || string(all["k"]) != "2" {
		t.Fatal(all, err)
	}
	if _, err := fencingraft.NewKV(c.Locker, "r", 0); !errors.Is(err, lock.ErrPermanent) {
		t.Errorf("without a token: %v", err)
	}
}

// TestRaftTakesNoStoreWithoutValues says so, and does not wait.
func TestRaftTakesNoStoreWithoutValues(t *testing.T) {
	bare := struct{ lock.Locker }{newContest(t, backends.Config{Backend: "memory"}).Locker}
	if _, err := fencingraft.NewKV(bare, "r", 1); !errors.Is(err, lock.ErrPermanent) {
		t.Fatalf("%v", err)
	}
}
