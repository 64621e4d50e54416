package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A rack is what the tests' fence command acts on: one folder with the processes of each host.
type rack struct {
	*trio
}

func newRack(r *trio) rack {
	r.ttl = 4 * time.Second // nobody is to be fenced for being late on a busy machine
	return rack{r}
}

// host is the file that lists the processes of a contender's host.
func (k rack) host(id string) string { return filepath.Join(k.dir, id+".host") }

// runs are the lines that fence commands wrote: who ran it, against whom.
func (k rack) runs() []string {
	text, _ := os.ReadFile(filepath.Join(k.dir, "fenced"))
	return strings.Fields(string(text))
}

// fencing is a fence command that notes who ran it, and then does something.
func (k rack) fencing(then string) string {
	return fmt.Sprintf("echo $UNDERSTUDY_ID:$UNDERSTUDY_FENCE_ID >> %s/fenced; %s", k.dir, then)
}

// power is what kills the host that is named.
func (k rack) power() string { return "kill -9 $(cat " + k.dir + "/$UNDERSTUDY_FENCE_ID.host)" }

// freeze stops every process of a contender's host at once: its wrapper, its witness, its command and
// its init, as a host that was lost.
func (k rack) freeze(was span) {
	k.t.Helper()
	pids := append(descendants(k.procs[was.id].Process.Pid), k.procs[was.id].Process.Pid)
	var text strings.Builder
	for _, pid := range pids {
		fmt.Fprintln(&text, pid)
	}
	must(k.t.(*testing.T), os.WriteFile(k.host(was.id), []byte(text.String()), 0o600))
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// descendants are the processes below one, the deepest first.
func descendants(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(text)) {
			var child int
			_, _ = fmt.Sscan(word, &child)
			all = append(append(all, descendants(child)...), child)
		}
	}
	return all
}

// bury takes a frozen host away.
func (k rack) bury(was span) {
	text, _ := os.ReadFile(k.host(was.id))
	for _, word := range strings.Fields(string(text)) {
		var pid int
		_, _ = fmt.Sscan(word, &pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = k.procs[was.id].Wait()
	delete(k.procs, was.id)
}

// TestFence loses the host of the active: the fence command kills it, on one standby alone, and the next
// work begins before the promise is over.
func TestFence(t *testing.T) { onEveryStore(t, testFence) }

func testFence(t *testing.T, r *trio) {
	k := newRack(r)
	r.startAll("--hang-timeout", "0", "--label", "Rack.No=7", "--fence", k.fencing(k.power()+" && test $UNDERSTUDY_FENCE_LABEL_RACK_NO = 7"))
	was := r.active(0)
	r.inLine(2)
	begun := time.Now()
	k.freeze(was)
	next := r.active(was.token)
	took := time.Since(begun)
	t.Logf("the next work began %v after the host was lost, with a ttl of %v", took, r.ttl)
	if took >= r.ttl {
		t.Errorf("the next work began after %v, which is no sooner than the promise of %v ends", took, r.ttl)
	}
	if runs := k.runs(); len(runs) != 1 || !strings.HasSuffix(runs[0], ":"+was.id) || strings.HasPrefix(runs[0], was.id) {
		t.Errorf("the fence command ran as %q, want once, against %s", runs, was.id)
	}
	r.because(was, lock.CauseFenced, "the fence command took", "a fence command said that its host is dead")
	k.bury(was)
	r.start(was.id)
	r.inLine(2)
	if active := r.active(0); active.token != next.token {
		t.Errorf("token %d works, want %d", active.token, next.token)
	}
	r.finish()
}
