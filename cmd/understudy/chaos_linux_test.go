//go:build chaos

package main

import (
	"flag"
	"math/rand/v2"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
)

// chaos is how long TestRaftChaos goes on.
var chaos = flag.Duration("chaos", 5*time.Minute, "how long TestRaftChaos goes on")

// TestRaftChaos lets machines fail, and the network between them, in an order drawn by a seed, while the group commits
// something all the time. No two ever work at once, tokens only rise, a majority serves the role whatever
// else there is, what nodes answer meanwhile is linearizable, and once all is well again every node knows what was acknowledged.
func TestRaftChaos(t *testing.T) {
	f := newFleet(t, []string{"a", "b", "c"})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	f.begin(0)
	history, rounds := newFloors(f), 0
	for end := time.Now().Add(*chaos); time.Now().Before(end); {
		for _, i := range draw.Perm(len(upheavals)) {
			now := f.settle()
			ids := slices.Clone(f.ids)
			draw.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			t.Logf("%s (active %s, leader %s, order %v)", upheavals[i].name, now.id, f.leader(""), ids)
			before := f.acknowledged.Load()
			upheavals[i].inject(f, now, ids)
			f.net.Heal()
			f.settle()
			f.know()
			f.judge()
			history.part()
			if f.acknowledged.Load() == before {
				t.Errorf("nothing was committed")
			}
			if t.Failed() {
				return
			}
			if rounds++; time.Now().After(end) {
				break
			}
		}
	}
	f.finish()
	for _, id := range f.ids {
		if out, err := exec.Command(f.program, "raft", "check", f.dir+"/"+id).CombinedOutput(); err != nil {
			t.Errorf("the directory of %s: %v\n%s", id, err, out)
		}
	}
	t.Logf("%d upheavals, %d raised floors and readings of them were judged, and nobody worked for %v at most", rounds, history.judged, f.longest())
}

// upheavals are what happens to a fleet. Each waits until the role is served while it lasts: there is a majority.
var upheavals = []struct {
	name   string
	inject func(f *fleet, now span, ids []string)
}{
	{"one machine after the other loses its power", func(f *fleet, _ span, ids []string) {
		for _, id := range ids {
			f.off(id)
			f.lasts()
			f.start(id)
			f.settle()
		}
	}},
	{"one process after the other is killed", func(f *fleet, _ span, ids []string) {
		for _, id := range ids {
			f.kill(id, syscall.SIGKILL)
			f.lasts()
			f.start(id)
			f.settle()
		}
	}},
	{"the leader's machine is paused, and goes on when another leads", func(f *fleet, now span, _ []string) {
		leader := f.leader("")
		if leader == now.id { // what an active does in the moment in which it goes on is a matter for fencing
			f.handoff()
			if now = f.active(now.token); now.id == leader {
				return
			}
		}
		f.net.Freeze(leader)
		f.leader(leader)
		f.lasts()
		f.net.Thaw(leader)
	}},
	{"the active is cut off", func(f *fleet, now span, _ []string) { f.isolate(now.id, true, true); f.lasts() }},
	{"the leader is cut off", func(f *fleet, _ span, _ []string) { f.isolate(f.leader(""), true, true); f.lasts() }},
	{"anybody is cut off", func(f *fleet, _ span, ids []string) { f.isolate(ids[0], true, true); f.lasts() }},
	{"what the active sends is lost", func(f *fleet, now span, _ []string) { f.isolate(now.id, true, false); f.lasts() }},
	{"what the leader sends is lost", func(f *fleet, _ span, _ []string) { f.isolate(f.leader(""), true, false); f.lasts() }},
	{"what is sent to the active is lost", func(f *fleet, now span, _ []string) { f.isolate(now.id, false, true); f.lasts() }},
	{"what is sent to the leader is lost", func(f *fleet, _ span, _ []string) { f.isolate(f.leader(""), false, true); f.lasts() }},
	{"two do not reach each other, and both reach the third", func(f *fleet, _ span, ids []string) {
		f.net.Cut(ids[0], ids[1])
		f.net.Cut(ids[1], ids[0])
		f.lasts()
	}},
	{"one does not reach another, who reaches it", func(f *fleet, _ span, ids []string) { f.net.Cut(ids[0], ids[1]); f.lasts() }},
	{"one that was cut off is back, and the next one is cut off", func(f *fleet, _ span, ids []string) {
		for _, id := range ids {
			f.isolate(id, true, true)
			f.lasts()
			f.net.Heal()
		}
	}},
}

// lasts has a fault last for longer than any promise, and waits until somebody works after that.
func (f *fleet) lasts() {
	f.t.Helper()
	f.served(coordinator.Clocks().Mono + 2*f.ttl)
}

// longest is the longest time in which nobody worked.
func (f *fleet) longest() (most time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 1; i < len(f.spans); i++ {
		most = max(most, f.spans[i].first-f.spans[i-1].last)
	}
	return most
}
