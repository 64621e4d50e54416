package main

import (
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStoppedTogether stops any of wrapper, witness, init and command at once, of the active and of one that stands by, for a drawn
// time, and wakes them in a drawn order. No two commands ever work at once, and somebody works again. Where wrapper, witness and
// init are all stopped nobody is left who could end the command, so it is stopped with them, and wakes after them.
func TestStoppedTogether(t *testing.T) { onEveryStore(t, testStoppedTogether) }

func testStoppedTogether(t *testing.T, r *trio) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	r.ttl = time.Second
	r.startAll()
	for range *rounds {
		now := r.settle()
		time.Sleep(time.Duration(draw.Int64N(int64(r.ttl / 2)))) // a drawn moment
		parts := map[string]int{"wrapper": r.procs[now.id].Process.Pid, "witness": r.witness(now.id), "init": r.init(now.id), "command": now.pid}
		standby := r.ids[(slices.Index(r.ids, now.id)+1+draw.IntN(2))%3]
		var stopped, late []string
		for _, name := range []string{"wrapper", "witness", "init", "command"} {
			if draw.IntN(2) == 0 {
				stopped = append(stopped, name)
			}
		}
		if slices.Equal(stopped, []string{"wrapper", "witness", "init"}) {
			stopped = append(stopped, "command")
		}
		if len(stopped) == 4 {
			stopped, late = []string{"wrapper", "witness", "init"}, []string{"command"}
		}
		if draw.IntN(3) == 0 {
			parts["wrapper of "+standby] = r.procs[standby].Process.Pid
			stopped = append(stopped, "wrapper of "+standby)
		}
		if draw.IntN(3) == 0 {
			parts["witness of "+standby] = r.witness(standby)
			stopped = append(stopped, "witness of "+standby)
		}
		long := time.Duration(draw.Int64N(int64(3 * r.ttl)))
		t.Logf("%s works: SIGSTOP of %s for %v", now.id, strings.Join(append(stopped, late...), ", "), long)
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
		time.Sleep(long) // the fault itself
		each(stopped, syscall.SIGCONT, 100*time.Millisecond)
		if len(late) > 0 {
			time.Sleep(100 * time.Millisecond) // what guards has woken, and looked
			each(late, syscall.SIGCONT, time.Millisecond)
		}
	}
	r.finish()
}
