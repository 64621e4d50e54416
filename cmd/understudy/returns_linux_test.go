//go:build chaos

package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// backoff is how long the library waits in the end after it has failed to reach a peer, where nobody keeps it from that.
const backoff = 10 * time.Second

// TestRaftReturns: a standby that was cut off for a minute is back, and in the same moment the active's machine loses
// its power. The standby takes over as soon as one that was never away, in a group that was idle, and in one whose log
// does not reach back as far, so that it is sent a snapshot. Three others keep the majority: with fewer the leader
// would step down as the active is lost, and another election would have no failures to wait for.
func TestRaftReturns(t *testing.T) {
	for name, loaders := range map[string]int{"idle": 0, "loaded": 2} { // one after the other: ten processes keep a small machine busy
		t.Run(name, func(t *testing.T) { testRaftReturns(t, loaders) })
	}
}

func testRaftReturns(t *testing.T, loaders int) {
	f := newFleet(t, []string{"a", "b"}, "c", "d", "e")
	f.begin(loaders)
	f.votersLead()
	now := f.pair()
	_, usual := f.takeover(now)
	f.start(now.id)
	now = f.pair()
	away := f.others(now.id)[0]
	f.isolate(away, true, true)
	time.Sleep(time.Minute) // the isolation
	leader := f.leader("")
	f.failure(leader)
	sent := strings.Count(f.log(leader), "installing snapshot on")
	f.net.Heal()
	next, took := f.takeover(now)
	if is := f.leader(""); is != leader {
		t.Fatalf("%s leads, and it was %s: another election has nothing to wait for: run this alone", is, leader)
	}
	if next.id != away || took > usual+backoff*3/4 {
		t.Errorf("%s took over %v after the active was lost; it was to be %s, and one that was never away took %v", next.id, took, away, usual)
	}
	if is := strings.Count(f.log(leader), "installing snapshot on") > sent; is != (loaders > 0) {
		t.Errorf("a snapshot was sent: %t", is)
	}
	t.Logf("one that was never away took over after %v, and one that came back after %v", usual, took)
	f.start(now.id)
	f.pair()
	f.know()
	f.judge()
}

// pair waits until one contender works, and the other stands by.
func (f *fleet) pair() (now span) {
	f.t.Helper()
	f.eventually("one works and one stands by", func() (ok bool) { now, ok = f.wholeWith(2); return ok })
	return now
}

// votersLead makes one of those the leader that only vote.
func (f *fleet) votersLead() {
	f.t.Helper()
	for leader := f.leader(""); !slices.Contains(f.voters, leader); leader = f.leader("") {
		f.kill(leader, syscall.SIGTERM)
		f.start(leader)
		f.pair()
	}
}

// failure waits for the worst moment to come back in: the leader has failed to reach a peer once more, and waits before
// it tries again. One that never fails is not waited for longer than such a wait and such a try.
func (f *fleet) failure(leader string) {
	const line = "failed to appendEntries"
	before := strings.Count(f.log(leader), line)
	for end := time.Now().Add(backoff + 5*time.Second); strings.Count(f.log(leader), line) == before && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // a log tells nobody
	}
}
