package raft

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// writeValue writes until the outcome is known: an election may come between.
func writeValue(t testing.TB, l lock.Locker, token lock.Token, key, value string) (current lock.Token, err error) {
	t.Helper()
	eventually(t, "a known outcome", func() bool {
		current, err = l.(lock.Values).Write(timeout(t, 10*time.Second), "r", token, map[string][]byte{key: []byte(value)}, nil)
		return err == nil || errors.Is(err, lock.ErrMoved)
	})
	return current, err
}

func readValue(t testing.TB, l lock.Locker, key string) (value string) {
	t.Helper()
	eventually(t, "an answer", func() bool {
		found, err := l.(lock.Values).Read(timeout(t, 10*time.Second), key)
		value = string(found[key])
		return err == nil
	})
	return value
}

// TestValues are written and read through every node and from outside, refused for a term
// that is over, and found again after a restart, from the log and from a snapshot.
func TestValues(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	first := register(t, g.lockers[0], "a")
	token := acquire(t, first)
	l, err := Dial(Config{Peers: g.configs[0].Peers})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	for i, through := range append(g.lockers, l) {
		value := string(rune('0' + i))
		_, err := writeValue(t, through, token, "k", value)
		must(t, err)
		for _, other := range append(g.lockers, l) {
			if got := readValue(t, other, "k"); got != value {
				t.Fatalf("read %q after %q was written", got, value)
			}
		}
	}
	eventually(t, "a release", func() bool { return first.Release(timeout(t, 10*time.Second), "r", token) == nil })
	next := acquire(t, register(t, g.lockers[1], "b"))
	for _, through := range append(g.lockers, l) {
		if current, err := writeValue(t, through, token, "k", "stale"); !errors.Is(err, lock.ErrMoved) || current != next {
			t.Fatalf("current %d, %v; want %d and ErrMoved", current, err, next)
		}
	}
	g.reopen()
	if got := readValue(t, g.lockers[0], "k"); got != "3" {
		t.Fatalf("after a restart: %q", got)
	}
}

// reopen starts all nodes anew, one of them from a snapshot.
func (g *group) reopen() {
	g.t.Helper()
	must(g.t, g.nodes[0].raft.Snapshot().Error())
	for i := range g.nodes {
		g.stop(i)
	}
	g.start()
}

// TestFormatIsTheOldestThatCanSayIt: a group without values can go back to a program that
// knows none, and one with values stops such a program by name.
func TestFormatIsTheOldestThatCanSayIt(t *testing.T) {
	t.Parallel()
	m := newMachine()
	index := uint64(0)
	apply := func(c ledger.Command, want string) {
		t.Helper()
		data, err := encode(c)
		must(t, err)
		if !strings.HasPrefix(string(data), want) {
			t.Errorf("%s: the entry is %s, want %s", c.Op, data, want)
		}
		index++
		must(t, m.Apply(&raft.Log{Index: index, Data: data}).(ledger.Result).Err())
	}
	image := func(want string) {
		t.Helper()
		s, err := m.Snapshot()
		must(t, err)
		if !strings.HasPrefix(string(s.(snapshot)), want) {
			t.Errorf("the snapshot is %s, want %s", s, want)
		}
	}
	apply(ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "a", Session: "s"}}, `{"Format":1,`)
	apply(ledger.Command{Op: ledger.Acquire, Session: "s", Role: "r"}, `{"Format":1,`)
	apply(ledger.Command{Op: ledger.Read}, `{"Format":1,`)
	image(`{"Format":1,`)
	apply(ledger.Command{Op: ledger.Write, Role: "r", Token: 2, Values: map[string][]byte{"k": {}}}, `{"Format":2,`)
	image(`{"Format":2,`)
	apply(ledger.Command{Op: ledger.History, Role: "r"}, `{"Format":1,`)
	apply(ledger.Command{Op: ledger.Begin, Name: "g"}, `{"Format":3,`)
	apply(ledger.Command{Op: ledger.Configured, Identity: "g"}, `{"Format":3,`)
	image(`{"Format":3,`)
	for what, c := range map[string]ledger.Command{
		"a pause":  {Op: ledger.Pause, Role: "r", Pause: lock.Pause{By: "op"}},
		"settings": {Op: ledger.Configure, Contender: lock.Contender{ID: "a"}, Settings: lock.Settings{By: "op", Drained: true}},
		"an event": {Op: ledger.Record, Role: "r", Event: lock.Event{At: time.Now(), By: "a", Kind: lock.Began}},
	} {
		t.Log(what)
		apply(c, `{"Format":4,`)
		image(`{"Format":4,`)
		m.ledger.Paused, m.ledger.Settings, m.ledger.History = nil, nil, nil
		image(`{"Format":3,`)
	}
	f := lock.Fence{Token: 2, Beat: m.ledger.Sessions["s"].Beat, By: "b", Session: "t"}
	apply(ledger.Command{Op: ledger.Fence, Role: "r", Fence: f}, `{"Format":5,`)
	image(`{"Format":5,`)
	apply(ledger.Command{Op: ledger.Evict, Session: "s", Seen: f.Beat, End: lock.End{By: "b", Why: "dead"}}, `{"Format":1,`)
	image(`{"Format":3,`)
	apply(ledger.Command{Op: ledger.Restore, Backup: &ledger.Backup{}}, `{"Format":6,`)
	apply(ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "a", Session: "t"}}, `{"Format":1,`)
	token := m.Apply(&raft.Log{Index: index + 1, Data: []byte(`{"Format":1,"Command":{"Op":"acquire","Session":"t","Role":"q"}}`)}).(ledger.Result).Token
	index++
	apply(ledger.Command{Op: ledger.Write, Role: "q", Token: token, When: map[string][]byte{"k": nil}}, `{"Format":7,`)
	image(`{"Format":7,`)
}
