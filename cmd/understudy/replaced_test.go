package main

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
	"github.com/understudy-ha/understudy/lock"
)

// load has the group commit something all the time until the test ends, and returns how often
// that was acknowledged.
func (r *trio) load() (acknowledged *atomic.Int64) {
	client, err := raft.Dial(r.store.Raft)
	must(r.t, err)
	acknowledged = new(atomic.Int64)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for floor := lock.Token(1); ; floor++ {
			select {
			case <-stop:
				return
			default:
			}
			if client.Raise(lab.Within(r.t, 2*time.Second), floor) == nil { // a floor below the tokens changes nothing, and is an entry
				acknowledged.Add(1)
			}
		}
	}()
	r.t.Cleanup(func() { close(stop); <-done; must(r.t, client.Close()) })
	return acknowledged
}

// TestAllNodesAreReplaced one by one while the group works: three new ones, each of which knows one
// living peer, take the places of all that began it. The role moves when its own node goes, and
// at no other time.
func TestAllNodesAreReplaced(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.ttl = 5 * time.Second // no election takes as long, however busy the machine is
	r.startAll()
	now := r.active(0)
	r.inLine(2)
	old := r.store.Raft.Peers
	next := stores.Peers(t, "d", "e", "f")
	r.store.Raft.Peers = append(old[:3:3], next...)
	acknowledged := r.load()
	for i := range 3 {
		goes, comes, living := old[i], next[i], r.store.Raft.Peers[i+1]
		before := acknowledged.Load()
		r.ids = append(r.ids, comes.ID)
		r.flags = []string{"--backend", "raft", "--raft-peers", stores.List([]raft.Peer{comes, living})}
		r.start(comes.ID)
		args := []string{"raft", "member", "replace", goes.ID, comes.String(), "--raft-peers", living.String()}
		if now.id == goes.ID { // the role moves with it, as is meant here
			args = append(args, "--force")
		}
		if code, text := said(t, args...); code != 0 {
			t.Fatalf("replace %s: exit code %d, %s", goes.ID, code, text)
		}
		r.inLine(3) // a node that is no longer a voter stays in line while it runs
		if is := r.active(now.token - 1); is.token != now.token {
			t.Errorf("the role moved to %s when %s was replaced by %s", is.id, goes.ID, comes.ID)
		}
		r.kill(goes.ID, syscall.SIGTERM)
		if now.id == goes.ID {
			now = r.active(now.token)
		}
		r.inLine(2)
		if is := r.active(now.token - 1); is.token != now.token {
			t.Errorf("the role moved to %s when %s had gone", is.id, goes.ID)
		}
		if acknowledged.Load() == before {
			t.Errorf("nothing was committed while %s was replaced", goes.ID)
		}
	}
	if g, err := raft.Status(lab.Within(t, 20*time.Second), raft.Config{Peers: next}); err != nil || len(g.Members) != 3 || g.Members[0].ID != "d" {
		t.Errorf("%+v, %v", g, err)
	}
	r.judge()
	t.Logf("%d entries were acknowledged", acknowledged.Load())
}
