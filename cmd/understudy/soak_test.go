//go:build soak

package main

import (
	"flag"
	"os/exec"
	"testing"
	"time"
)

var soak = flag.Duration("soak", time.Hour, "how long nothing may happen while the machine is idle; a sixth of it while it is busy")

// busyLoops are more than the cores that a small machine has.
const busyLoops = 4

// TestNoFalseTakeover leaves three wrappers alone, at a ttl of 1 s on stores of one
// member: nobody may lose the role, while the machine idles and while it is busy.
func TestNoFalseTakeover(t *testing.T) {
	for name, busy := range map[string]bool{"idle": false, "busy": true} {
		t.Run(name, func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, r *trio) {
				long := *soak
				if busy {
					long /= 6
				}
				for _, id := range r.ids {
					r.start(id, "--ttl", "1s")
				}
				first := r.active(0)
				r.inLine(2)
				if busy {
					keepBusy(t)
				}
				time.Sleep(long)
				r.mu.Lock()
				for _, s := range r.spans {
					if s.token != first.token {
						t.Errorf("%s took the role with token %d at %v: nothing had failed", s.id, s.token, s.first)
					}
				}
				r.mu.Unlock()
				r.judge()
			})
		})
	}
}

func keepBusy(t *testing.T) {
	for range busyLoops {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = demoAttributes()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}
