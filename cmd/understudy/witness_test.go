package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/lab"
)

// rounds is how many faults TestAnyOne injects on each store.
var rounds = flag.Int("rounds", 15, "faults that TestAnyOne injects on each store")

// TestAnyOne kills or stops any one of wrapper, command, its init and the witness, of the
// active or a standby, at any moment, or stops the active's wrapper and kills its witness;
// one of the commands is a daemon. No two commands ever work at once, and when all are told
// to stop nothing is left: no process, no role, no session.
func TestAnyOne(t *testing.T) { onEveryStore(t, testAnyOne) }

func testAnyOne(t *testing.T, r *trio) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	r.ttl = time.Second
	r.commands = map[string][]string{"c": r.daemon()}
	r.startAll()
	for range *rounds {
		now := r.settle()
		time.Sleep(time.Duration(draw.Int64N(int64(r.ttl / 2)))) // a drawn moment
		if draw.IntN(5) == 0 && r.witness(now.id) != 0 {
			first, between := syscall.SIGSTOP, time.Duration(draw.Int64N(int64(r.ttl/2)))
			if draw.IntN(2) == 0 {
				first = syscall.SIGKILL
			}
			t.Logf("SIGSTOP of the wrapper and SIGKILL of the witness of %s, %v first, %v between", now.id, first, between)
			r.unguard(now, first, between)
			continue
		}
		id, pid, whom := now.id, now.pid, "command"
		if draw.IntN(2) == 0 {
			id = r.ids[draw.IntN(3)]
		}
		switch what := draw.IntN(4); {
		case what == 0 || what == 1 && id != now.id:
			pid, whom = r.procs[id].Process.Pid, "wrapper"
		case what == 2:
			pid, whom = r.witness(id), "witness"
		case what == 3:
			pid, whom = r.init(id), "init"
		}
		if pid == 0 { // it is being replaced
			continue
		}
		if draw.IntN(2) == 0 {
			t.Logf("SIGKILL of the %s of %s (active %s)", whom, id, now.id)
			_ = syscall.Kill(pid, syscall.SIGKILL)
			r.eventually("it is gone", func() bool { // one fault at a time
				state, _ := r.state(pid)
				return state == "" || whom == "wrapper" && state == "Z" || whom != "witness" && whom != "wrapper"
			})
			continue
		}
		t.Logf("SIGSTOP of the %s of %s (active %s)", whom, id, now.id)
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		time.Sleep(time.Duration(draw.Int64N(int64(2 * r.ttl)))) // a drawn time
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	r.finish()
}

// daemon is the trio's command in a session of its own, which its first process does not wait for.
func (r *trio) daemon() []string {
	if len(r.command) == 3 { // a shell's
		return []string{"sh", "-c", "setsid -f sh -c '" + r.command[2] + "'; sleep 1000 & wait"}
	}
	return []string{"sh", "-c", "setsid -f " + os.Args[0] + "; sleep 1000 & wait"}
}

// send signals a process that must be there.
func (r *trio) send(pid int, sig syscall.Signal) {
	r.t.Helper()
	if pid <= 0 {
		r.t.Fatalf("there is none that could get the %v", sig)
	}
	_ = syscall.Kill(pid, sig)
}

// stopping stops a process while something happens.
func (r *trio) stopping(pid int, meanwhile func()) {
	r.send(pid, syscall.SIGSTOP)
	meanwhile()
	r.send(pid, syscall.SIGCONT)
}

// unguard stops a wrapper and kills its witness, of which one comes first: the command's
// init alone is left to hold the deadline. The wrapper goes on when another works.
func (r *trio) unguard(now span, first syscall.Signal, between time.Duration) {
	r.t.Helper()
	wrapper, witness := r.procs[now.id].Process.Pid, r.witness(now.id)
	stop, kill := func() { r.send(wrapper, syscall.SIGSTOP) }, func() { r.send(witness, syscall.SIGKILL) }
	if first == syscall.SIGKILL {
		stop, kill = kill, stop
	}
	stop()
	time.Sleep(between) // a drawn moment
	kill()
	next := r.active(now.token)
	if state, _ := r.state(now.pid); state != "" && state != "Z" && !slices.Contains(r.more, "--warm") { // which may have stood down before
		r.t.Errorf("a promise is broken: %s works with token %d, and so does %s with %d", next.id, next.token, now.id, now.token)
	}
	r.send(wrapper, syscall.SIGCONT) // where it lives: a witness that came anew has killed it
}

// settle starts wrappers again that are gone, until one is active and two stand by, and
// returns who works.
func (r *trio) settle() (now span) {
	r.t.Helper()
	r.eventually("one is active and two stand by", func() (ok bool) {
		for _, id := range r.ids {
			if state, _ := r.state(r.procs[id].Process.Pid); state == "Z" {
				_ = r.procs[id].Wait()
				r.start(id)
			}
		}
		now, ok = r.whole()
		return ok && !slices.ContainsFunc(r.ids, r.unwitnessed)
	})
	return now
}

// unwitnessed reports whether a wrapper's witness was killed, and no other stands by yet.
func (r *trio) unwitnessed(id string) bool {
	log := r.log(id)
	return strings.LastIndex(log, "another is started") > max(strings.LastIndex(log, "stands by again"), strings.LastIndex(log, "reason=starting"))
}

// whole returns who works, if the store says that two stand by.
func (r *trio) whole() (span, bool) { return r.wholeWith(3) }

// wholeWith returns who works, if the store says that so many have a session.
func (r *trio) wholeWith(n int) (span, bool) {
	var out, errs lab.Said
	args := append([]string{"status", "--role", "r", "--timeout", "1s", "-o", "json"}, r.flags...)
	if execute(r.t.Context(), args, &out, &errs) != 0 {
		return span{}, false
	}
	text := out.String()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spans) == 0 || strings.Count(text, `"session"`) != n {
		return span{}, false
	}
	now := *r.spans[len(r.spans)-1]
	return now, strings.Contains(text, fmt.Sprintf(`"token": %d`, now.token))
}

// state is a process's state and its parent's ID, by the kernel's word.
func (r *trio) state(pid int) (state string, parent int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	parent, _ = strconv.Atoi(f[1])
	return f[0], parent
}

// witness is the process ID of a wrapper's witness; 0: it has none now.
func (r *trio) witness(id string) int {
	return r.child(r.procs[id].Process.Pid, "understudy-witness\x00")
}

// init is the process ID of a command's init; 0: there is none now.
func (r *trio) init(id string) int { return r.child(r.procs[id].Process.Pid, "understudy-init\x00") }

// inits are those of a wrapper's command and of its health checks.
func (r *trio) inits(id string) []int {
	return r.children(r.procs[id].Process.Pid, "understudy-init\x00")
}

// child is the process ID of a child whose command line begins so; 0: there is none.
func (r *trio) child(of int, begins string) int {
	if all := r.children(of, begins); len(all) > 0 {
		return all[0]
	}
	return 0
}

// children are the process IDs of children whose command lines begin so.
func (r *trio) children(of int, begins string) (all []int) {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if text, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(text), begins) {
			if _, parent := r.state(pid); parent == of {
				all = append(all, pid)
			}
		}
	}
	return all
}

// nothingLeft looks for processes that the trio started, and for what stands in the
// store.
func (r *trio) nothingLeft() {
	r.t.Helper()
	r.noProcessLeft()
	if r.store.Backend == "raft" { // its store is gone with it
		return
	}
	l, err := backends.Dial(r.t.Context(), r.store)
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	for _, role := range append([]string{"r"}, threeRoles...) {
		for st, err := range l.Watch(r.t.Context(), role) {
			if err == nil && st.Term.Vacant() && len(st.Line) == 0 {
				break
			}
			if err == nil {
				r.t.Logf("not empty yet: %+v", st)
			}
		}
	}
	if err := r.t.Context().Err(); err != nil {
		r.t.Error("a role or a session is left")
	}
}

// noProcessLeft waits until all are gone.
func (r *trio) noProcessLeft() {
	r.t.Helper()
	defer func() {
		if r.t.Failed() {
			r.t.Logf("still there: %q", r.left())
		}
	}()
	r.eventually("no process is left", func() bool { return len(r.left()) == 0 })
}

// killLeft kills what carries the trio's mark.
func (r *trio) killLeft() {
	for _, one := range r.left() {
		pid, _, _ := strings.Cut(one, ":")
		if n, err := strconv.Atoi(pid); err == nil && n != os.Getpid() {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
}

// left are the processes that carry the trio's mark in their environment.
func (r *trio) left() []string { return lab.Left(r.t, "UNDERSTUDY_TEST_MARK", r.dir) }

// TestHang stops the active's wrapper, with a command that ignores SIGTERM and a
// grandchild that works on: its witness kills them all before a standby starts, long
// before the promise is over.
func TestHang(t *testing.T) { onEveryStore(t, testHang) }

func testHang(t *testing.T, r *trio) {
	r.ttl = 20 * time.Second
	r.more = []string{"--hang-timeout", "500ms", "--label", "x=y"} // a process that is started again has them, too
	r.startAll()
	for range 3 {
		now := r.settle()
		began := time.Now()
		r.signal(now.id, syscall.SIGSTOP)
		next := r.active(now.token)
		if took := time.Since(began); took > r.ttl/2 {
			t.Errorf("the takeover from a hung wrapper took %v, which is no better than its promise of %v", took, r.ttl)
		}
		if next.id == now.id {
			t.Errorf("%s hangs and took over from itself", now.id)
		}
	}
	r.finish()
}

// TestHealth lets a standby's and then an active's health check fail, and hang.
func TestHealth(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.ttl = 10 * time.Second
	sick := func(id string) string { return filepath.Join(r.dir, id+".sick") }
	for _, id := range r.ids {
		r.start(id, "--health", fmt.Sprintf("test ! -e %[1]s || exec $(cat %[1]s)", sick(id)), "--health-interval", "100ms", "--hang-timeout", "2s")
	}
	fall := func(id, how string) {
		t.Helper()
		if err := os.WriteFile(sick(id), []byte(how), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := r.settle()
	fall(now.id, "false")
	next := r.active(now.token)
	if next.id == now.id {
		t.Fatalf("%s is not healthy and works again", now.id)
	}
	third := ""
	for _, id := range r.ids {
		if id != now.id && id != next.id {
			third = id
		}
	}
	fall(next.id, "false")
	if last := r.active(next.token); last.id != third {
		t.Errorf("%s works, want %s, which alone is healthy", last.id, third)
	}
	_ = os.Remove(sick(now.id))
	fall(third, "sleep 1000") // it hangs: the witness kills the wrapper
	if last := r.active(next.token + 1); last.id == third {
		last = r.active(last.token)
		if last.id != now.id {
			t.Errorf("%s works, want %s, which is healthy again", last.id, now.id)
		}
	}
	for _, said := range []string{"the health check hangs", "it hangs: it was stopped or made no step, or its health check did not return"} { // by itself, and by its witness
		r.awaitLog(third, said)
	}
	r.judge()
}

// log is what a wrapper and its witness logged.
func (r *trio) log(id string) string {
	text, err := os.ReadFile(filepath.Join(r.dir, id+".log"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// grandchildren makes the trio's command a shell whose child stamps: who kills the
// wrapper kills the shell, and the child works on.
func (r *trio) grandchildren() {
	r.command = []string{"sh", "-c", "trap '' TERM; " + os.Args[0] + " & wait"}
}

// TestWitnessStays sends its witness what ends a process, and then kills the wrapper:
// the grandchild that works on is killed before a standby starts.
func TestWitnessStays(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.ttl = 30 * time.Second
	r.grandchildren()
	r.startAll()
	now := r.settle()
	pid := r.witness(now.id)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGUSR1} {
		_ = syscall.Kill(pid, sig)
	}
	time.Sleep(100 * time.Millisecond) // a signal that ends it has ended it by then
	if again := r.witness(now.id); again != pid {
		t.Fatalf("the witness is %d, want %d still", again, pid)
	}
	r.killAtWork(now)
	r.start(now.id)
	r.finish()
}

// killAtWork kills the active's process: another takes over long before the promise is over.
func (r *trio) killAtWork(now span) {
	r.t.Helper()
	began := time.Now()
	r.kill(now.id, syscall.SIGKILL)
	r.active(now.token)
	if took := time.Since(began); took > r.ttl/2 {
		r.t.Errorf("the takeover took %v", took)
	}
}
