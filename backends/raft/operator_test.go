package raft

import (
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestDecisions are made and seen through every node and from outside, and found again after
// a restart, from the log and from a snapshot.
func TestDecisions(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	outside, err := Dial(Config{Peers: g.configs[0].Peers})
	must(t, err)
	defer func() { must(t, outside.Close()) }()
	s := register(t, g.lockers[0], "a")
	all := func() []lock.Locker { return append(g.lockers[:3:3], outside) }
	for i, through := range all() {
		by := string(rune('0' + i))
		op := through.(lock.Operator)
		e := lock.Event{At: time.Unix(int64(i), 0), By: by, Kind: lock.Began}
		eventually(t, "decisions", func() bool {
			ctx := timeout(t, 10*time.Second)
			set := op.Configure(ctx, "a", lock.Settings{By: by, Drained: true})
			return errors.Join(op.Pause(ctx, "r", lock.Pause{By: by}), set, op.Record(ctx, "r", e)) == nil
		})
		decided(t, all(), by, i+1)
		if _, err := s.TryAcquire(timeout(t, 10*time.Second), "r"); !errors.Is(err, lock.ErrMoved) {
			t.Fatalf("paused: %v", err)
		}
	}
	g.reopen()
	decided(t, all(), "3", 4)
	op := g.lockers[1].(lock.Operator)
	eventually(t, "a resumed role", func() bool { return op.Pause(timeout(t, 10*time.Second), "r", lock.Pause{}) == nil })
	acquire(t, register(t, g.lockers[2], "b"))
}

// decided expects every Locker to show a pause and settings by somebody, and so many events.
func decided(t *testing.T, all []lock.Locker, by string, events int) {
	t.Helper()
	for i, l := range all {
		standing(t, l, func(st lock.Standing) bool { return st.Pause.By == by })
		eventually(t, "decisions", func() bool {
			ctx := timeout(t, 10*time.Second)
			set, err := l.(lock.Operator).Configured(ctx)
			history, failed := l.(lock.Operator).History(ctx, "r")
			if errors.Join(err, failed) != nil {
				return false
			}
			if set["a"].By != by || len(history) != events || history[events-1].By != by {
				t.Errorf("locker %d: %+v, %+v; want both by %s, and %d events", i, set, history, by, events)
			}
			return true
		})
	}
}
