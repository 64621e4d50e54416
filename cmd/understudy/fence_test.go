package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
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
// work begins before the promise is over. What the command leaves in the background, and ignores SIGTERM, delays nobody.
func TestFence(t *testing.T) { onEveryStore(t, testFence) }

func testFence(t *testing.T, r *trio) {
	k := newRack(r)
	r.more = []string{"--hang-timeout", "0", "--label", "Rack.No=7", "--fence", k.fencing("(trap '' TERM; sleep 1000 & ); " + k.power() + " && test $UNDERSTUDY_FENCE_LABEL_RACK_NO = 7")}
	r.startAll()
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

// TestFenceInVain loses the host of the active and has its fence command fail, hang, and die with
// the standby that runs it: then the promise counts, and nothing is left of the command.
func TestFenceInVain(t *testing.T) { onEveryStore(t, testFenceInVain) }

func testFenceInVain(t *testing.T, r *trio) {
	k := newRack(r)
	script, hung := filepath.Join(r.dir, "script"), filepath.Join(r.dir, "hung")
	r.more = []string{"--hang-timeout", "0", "--fence", k.fencing("sh " + script)}
	r.startAll()
	dies := false
	silent := func(what, then, why string, meanwhile func()) {
		was := r.settle()
		must(t, os.WriteFile(script, []byte(then), 0o600))
		before, begun := len(k.runs()), time.Now()
		k.freeze(was)
		r.eventually(what+": the fence command runs", func() bool { return len(k.runs()) > before })
		meanwhile()
		r.active(was.token)
		if took := time.Since(begun); took < r.ttl*3/4 { // its last beat was up to ttl/4 old
			t.Errorf("%s: the next work began %v after the host was lost, before the promise of %v was over", what, took, r.ttl)
		}
		if n := len(k.runs()) - before; n != 1 {
			t.Errorf("%s: the fence command ran %d times, want once", what, n)
		}
		ran, _, _ := strings.Cut(k.runs()[len(k.runs())-1], ":")
		words := []string{"it had a witness; the fence command of " + ran + " did not succeed: ", why, "no fence command succeeded in the", "a fence command that succeeds ends the wait"}
		if !dies || r.cluster != nil { // with it an embedded store has no majority until it is back, and its silence says less
			words = append(words, was.id+" had a witness, which could not end its session")
		}
		r.because(was, lock.CauseSilent, words...)
		k.bury(was)
		r.start(was.id)
	}
	silent("it fails", "seq 20; echo no power; exit 3", "", func() {
		id, _, _ := strings.Cut(k.runs()[len(k.runs())-1], ":")
		r.awaitLog(id, `msg="the fence command says" line="no power"`)
	})
	l, err := backends.Dial(t.Context(), r.store)
	must(t, err)
	defer l.Close()
	daemon := "setsid -f sh -c 'echo $$ >> " + hung + "; exec sleep 1000'" // which ignores SIGTERM, too
	silent("it hangs", "trap '' TERM; echo $$ > "+hung+"; "+daemon+"; sleep 1000", "", func() {
		st, err := standing(t.Context(), l, "r")
		if must(t, err); !strings.HasPrefix(k.runs()[len(k.runs())-1], st.Fence.By+":") {
			t.Errorf("the intent that stands is %+v, and %s ran", st.Fence, k.runs())
		}
	})
	r.eventually("what hangs is ended, while who ran it goes on", func() bool {
		var pid, child int
		text, _ := os.ReadFile(hung)
		_, err := fmt.Sscan(string(text), &pid, &child)
		return err == nil && syscall.Kill(pid, 0) != nil && syscall.Kill(child, 0) != nil
	})
	dies = true
	silent("it dies with its standby", "sleep 1000", "its log says why", func() {
		id, _, _ := strings.Cut(k.runs()[len(k.runs())-1], ":")
		r.kill(id, syscall.SIGKILL)
		r.start(id)
	})
	r.finish()
}

// TestFenceCutOff: who cannot reach the store fences nobody, and whom the store was away from is not
// fenced when it is back; nor is one who only stands by.
func TestFenceCutOff(t *testing.T) { onEveryStore(t, testFenceCutOff) }

func testFenceCutOff(t *testing.T, r *trio) {
	k := newRack(r)
	r.more = []string{"--hang-timeout", "0", "--fence", k.fencing(k.power())}
	r.startAll()
	was := r.settle()
	none := func(when string) {
		t.Helper()
		if runs := k.runs(); len(runs) > 0 {
			t.Errorf("%s: the fence command ran: %q", when, runs)
		}
	}
	idle := ""
	for _, id := range r.ids {
		if id != was.id {
			idle = id
		}
	}
	frozen := span{id: idle}
	k.freeze(frozen)
	time.Sleep(2 * r.ttl) // longer than the promise of one who has a role; nothing is to happen
	none("a standby is silent")
	k.bury(frozen)
	r.start(idle)
	was = r.settle()
	if r.cluster != nil {
		resume, err := r.cluster.Pause()
		must(t, err)
		time.Sleep(r.ttl * 5 / 8) // a beat is missing for longer than fencing waits, and the promise stands
		must(t, resume())
		time.Sleep(r.ttl / 2) // a fence command that should not run would run now
		none("the store was away")
		was = r.settle()
	}

	back := k.cut(was)
	k.freeze(was)
	time.Sleep(r.ttl * 3 / 2) // the promise is over; nobody can know, and nothing is to happen
	none("nobody reaches the store")
	back()
	r.active(was.token)
	k.bury(was)
	r.start(was.id)
	r.finish()
}

// cut keeps everybody from the store but the active, which is about to be lost, and returns what
// ends that. Where the store is embedded two of three members are lost.
func (k rack) cut(was span) (back func()) {
	if k.cluster != nil {
		resume, err := k.cluster.Pause()
		must(k.t.(*testing.T), err)
		return func() { must(k.t.(*testing.T), resume()) }
	}
	for _, id := range k.ids {
		if id != was.id {
			k.kill(id, syscall.SIGKILL)
			return func() { k.start(id) }
		}
	}
	return nil
}

// TestFenceIsShown by status, for as long as the intent stands, and by why.
func TestFenceIsShown(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	st := lock.Standing{Role: "r", Term: lock.Term{Token: 7, Holder: lock.Member{Contender: lock.Contender{ID: "a"}, Beat: 5}}}
	for _, fenced := range []bool{false, true} {
		if fenced {
			st.Fence = lock.Fence{Token: 7, Beat: 5, By: "b", Session: "s", At: at}
		}
		h := heard{Standing: st, silent: "no beat"}
		r := newReport("memory", backends.Health{}, []heard{h})
		for format, want := range map[string]string{"text": "b fences the host of the active, which is silent, since 2026-05-01T12:00:00Z", "json": `"by": "b"`} {
			var out strings.Builder
			must(t, r.show(&out, format))
			if strings.Contains(out.String(), want) != fenced {
				t.Errorf("fenced: %v, and status says\n%s", fenced, out.String())
			}
		}
		if text := storyOf(h, nil).Text; strings.Contains(text, "b has set out to fence its host") != fenced {
			t.Errorf("fenced: %v, and why says %s", fenced, text)
		}
	}
}
