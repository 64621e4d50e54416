package main

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestStoppedTogether stops any of wrapper, witness, init and command at once, of the active and of one that stands by, for a drawn
// time, and wakes them in a drawn order. Now and then somebody asks for a handoff meanwhile, or the store's servers are stopped, too.
// No two commands ever work at once, and somebody works again.
func TestStoppedTogether(t *testing.T) { onEveryStore(t, testStoppedTogether) }

func testStoppedTogether(t *testing.T, r *trio) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	r.ttl = time.Second
	r.startAll()
	for range max(3, *rounds/5) { // each takes some seconds
		now := r.settle()
		time.Sleep(time.Duration(draw.Int64N(int64(r.ttl / 2)))) // a drawn moment
		parts, stopped, late := r.drawParts(draw, now)
		long := time.Duration(draw.Int64N(int64(3 * r.ttl)))
		t.Logf("%s works: SIGSTOP of %s for %v", now.id, strings.Join(slices.Concat(stopped, late), ", "), long)
		each := func(names []string, sig syscall.Signal, between time.Duration) {
			draw.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			for _, name := range names {
				if parts[name] != 0 { // 0: it is being replaced
					_ = syscall.Kill(parts[name], sig)
				}
				time.Sleep(time.Duration(draw.Int64N(int64(between)))) // a drawn time
			}
		}
		each(late, syscall.SIGSTOP, time.Millisecond)
		each(stopped, syscall.SIGSTOP, time.Millisecond)
		var asked sync.WaitGroup
		switch meanwhile := draw.IntN(4); {
		case meanwhile == 0:
			t.Log("and a handoff")
			asked.Go(func() { r.operate("handoff", "--role", "r", "--timeout", "3s") }) // it may be in vain
		case meanwhile == 1 && r.cluster != nil:
			outage := time.Duration(draw.Int64N(int64(2 * r.ttl)))
			t.Logf("and the store stops for %v", outage)
			resume, err := r.cluster.Pause()
			must(t, err)
			time.Sleep(outage) // a drawn time
			must(t, resume())
		}
		time.Sleep(long) // the fault itself
		each(stopped, syscall.SIGCONT, 100*time.Millisecond)
		if len(late) > 0 {
			time.Sleep(100 * time.Millisecond) // what guards has woken, and looked
			each(late, syscall.SIGCONT, time.Millisecond)
		}
		asked.Wait()
	}
	r.finish()
}

// drawParts draws which processes of the active and of a standby are stopped. Where wrapper, witness and init all are, nobody is left
// who could end the command: so it is stopped before them, and wakes late, after them.
func (r *trio) drawParts(draw *rand.Rand, now span) (parts map[string]int, stopped, late []string) {
	parts = map[string]int{"wrapper": r.procs[now.id].Process.Pid, "witness": r.witness(now.id), "init": r.init(now.id), "command": now.pid}
	guards := []string{"wrapper", "witness", "init"}
	for _, name := range append(slices.Clone(guards), "command") {
		if draw.IntN(2) == 0 {
			stopped = append(stopped, name)
		}
	}
	if len(stopped) > 2 && slices.Equal(stopped[:3], guards) {
		stopped, late = slices.Clone(guards), []string{"command"}
	}
	standby := r.ids[(slices.Index(r.ids, now.id)+1+draw.IntN(2))%3]
	parts["wrapper of "+standby], parts["witness of "+standby] = r.procs[standby].Process.Pid, r.witness(standby)
	for _, name := range guards[:2] {
		if draw.IntN(3) == 0 {
			stopped = append(stopped, name+" of "+standby)
		}
	}
	return parts, stopped, late
}
