package raft

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// runNode is a node in a process of its own, that raises the floor again and again and
// prints what was acknowledged.
func runNode(config string) {
	var c Config
	err := json.Unmarshal([]byte(config), &c)
	c.snapshots = snapshots{threshold: 16, trailing: 4, interval: 10 * time.Millisecond}
	var l lock.Locker
	if err == nil {
		l, err = Open(context.Background(), c)
	}
	if err == nil {
		err = l.Raise(context.Background(), 0) // from here on Watch shows nothing older
	}
	for floor := lock.Token(1); err == nil; floor++ {
		var st lock.Standing
		for st, err = range l.Watch(context.Background(), "r") {
			break
		}
		if err == nil {
			floor = max(floor, st.Floor+1)
			if err = l.Raise(context.Background(), floor); err == nil {
				fmt.Println(floor)
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestNodeThatIsKilledComesBack, whatever it was doing: making its directory, counting a
// start, writing an entry, keeping a snapshot, cutting its log. It has all that it had
// acknowledged.
func TestNodeThatIsKilledComesBack(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, func(c *Config) { c.Timing = minTiming })
	floor, acknowledged, longest := uint64(0), 0, 250*time.Millisecond
	for round := 0; round < 60 || acknowledged < 60 && round < 200; round++ {
		if round%20 == 10 { // from the very beginning
			must(t, os.RemoveAll(g.configs[0].Dir))
			floor = 0
		}
		cmd := lab.Self(t, "RAFT_TEST_NODE", g.configs[0])
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		must(t, cmd.Start())
		wait := rand.N(longest)
		if round%20 == 10 {
			wait = rand.N(30 * time.Millisecond)
		}
		time.Sleep(wait) // a drawn moment
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		if errs.Len() > 0 {
			t.Fatalf("round %d: %s", round, errs.String())
		}
		if out.Len() == 0 { // on a slow disk a node takes its time
			longest = min(longest+20*time.Millisecond, 2*time.Second)
		}
		if out.Len() > 0 { // node.json follows raft.db, and is never ahead of it
			if noted, is := writes(t, g.configs[0].Dir); noted > is || noted+4 < is {
				t.Fatalf("round %d: node.json says that raft.db was written %d times, and it was %d times", round, noted, is)
			}
		}
		first := uint64(0)
		if _, err := fmt.Sscan(out.String(), &first); err == nil && first <= floor {
			t.Fatalf("round %d: goes on with %d after %d", round, first, floor)
		}
		for lines := bytes.NewReader(out.Bytes()); ; {
			var next uint64
			if _, err := fmt.Fscanln(lines, &next); err != nil {
				break
			}
			floor = next
			acknowledged++
		}
	}
	if acknowledged < 60 {
		t.Errorf("only %d were acknowledged", acknowledged)
	}
}
