//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// noted are the lines that commands and hooks appended to one file: their order is the order of
// what they noted.
func noted(t *testing.T, file string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// TestHooks: both run once a term, the second before anybody else's command begins, each with
// the command's environment and the word for why.
func TestHooks(t *testing.T) { onEach(t, []string{onRaft}, testHooks) }

func testHooks(t *testing.T, r *trio) {
	notes := filepath.Join(r.dir, "notes")
	note := func(what string) string {
		return fmt.Sprintf(`echo %s $UNDERSTUDY_TOKEN $UNDERSTUDY_ID $UNDERSTUDY_ROLE $UNDERSTUDY_CAUSE >> %s`, what, notes)
	}
	r.command = []string{"sh", "-c", note("work") + "; exec " + os.Args[0]}
	r.more = []string{"--on-active", note("active"), "--on-standby", "sleep 0.3; " + note("standby")}
	r.startAll()
	first := r.settle()
	for _, pid := range []int{r.init(first.id), r.witness(first.id)} { // as ps shows it
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !strings.Contains(string(text), "\x00id="+first.id+" role=r") {
			t.Errorf("ps shows %q, %v", text, err)
		}
	}
	r.handOver()
	second := r.settle()
	_ = syscall.Kill(second.pid, syscall.SIGKILL)
	r.active(second.token)
	third := r.settle()
	r.eventually("its hook ran", func() bool {
		return slices.Contains(noted(t, notes), fmt.Sprintf("active %d %s r granted", third.token, third.id))
	})
	r.kill(third.id, syscall.SIGTERM)
	r.active(third.token)
	r.start(third.id)
	r.finish()

	lines := noted(t, notes)
	at := func(format string, args ...any) int {
		i := slices.Index(lines, fmt.Sprintf(format, args...))
		if i < 0 {
			t.Errorf("nobody noted %q", fmt.Sprintf(format, args...))
		}
		return i
	}
	for _, c := range []struct {
		term  span
		cause string
	}{{first, "handoff"}, {second, "failed"}, {third, "stopping"}} {
		id, token := c.term.id, c.term.token
		at("active %d %s r granted", token, id)
		began, over := at("work %d %s r", token, id), at("standby %d %s r %s", token, id, c.cause)
		if began < 0 || over < 0 {
			continue
		}
		if slices.ContainsFunc(lines[began+1:over], func(l string) bool { return strings.HasPrefix(l, "work") }) {
			t.Errorf("the next work began before the hook of token %d had ended", token)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(lines, "\n"))
	}
}

// hooked runs a wrapper whose command says "ready", and returns what the wrapper logs.
func hooked(t *testing.T, flags ...string) (*wrapped, *lab.Said) {
	t.Helper()
	log := &lab.Said{}
	w := wrap(t, `echo ready; exec sleep 1000`, flags...)
	w.cmd.Stderr = log
	w.cmd.Env = append(w.cmd.Env, "UNDERSTUDY_TEST_MARK="+t.TempDir())
	w.start()
	w.expect("ready")
	return w, log
}

// left are the processes of a wrapper.
func (w *wrapped) left() []string {
	mark := w.cmd.Env[len(w.cmd.Env)-1]
	name, value, _ := strings.Cut(mark, "=")
	return lab.Left(w.t, name, value)
}

func awaitSaid(t *testing.T, log *lab.Said, text string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !log.Has(text); time.Sleep(5 * time.Millisecond) { // a process's log tells nobody
		if time.Now().After(end) {
			t.Fatalf("the log does not say %q:\n%s", text, log)
		}
	}
}

// TestHooksThatMisbehave hang, fail, print a lot, or leave something behind: the command works, and
// the stop has its bound.
func TestHooksThatMisbehave(t *testing.T) {
	t.Parallel()
	const hang = `trap "" TERM; setsid -f sh -c 'trap "" TERM; sleep 1300 & wait'; sleep 1300 & wait; sleep 1300`
	t.Run("they hang", func(t *testing.T) {
		t.Parallel()
		w, log := hooked(t, "--on-active", hang, "--on-standby", hang)
		w.signal(syscall.SIGTERM)
		if code := w.code(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		for _, want := range []string{`hook=on-active error="the term is over"`, `hook=on-standby error="it has not ended within 5s"`} {
			if !log.Has(want) {
				t.Errorf("the log does not say %q", want)
			}
		}
		if left := w.left(); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		if t.Failed() {
			t.Log(log)
		}
	})
	t.Run("a second stop", func(t *testing.T) {
		t.Parallel()
		w, log := hooked(t, "--on-standby", "echo begun; "+hang)
		w.signal(syscall.SIGTERM)
		awaitSaid(t, log, "begun")
		w.signal(syscall.SIGINT)
		if code := w.code(); code != 0 || !log.Has(`hook=on-standby error="the release of the role does not wait any longer"`) {
			t.Errorf("exit code %d, want 0\n%s", code, log)
		}
	})
	t.Run("they fail and print", func(t *testing.T) {
		t.Parallel()
		w, log := hooked(t, "--on-active", "seq 100000; exit 3", "--on-standby", "head -c 10000000 /dev/zero; exit 4")
		awaitSaid(t, log, "hook=on-active code=3")
		w.signal(syscall.SIGTERM)
		code := w.code()
		if text := log.String(); code != 0 || !strings.Contains(text, "hook=on-standby code=4") || strings.Count(text, "the hook says") > 2*5 {
			t.Errorf("exit code %d, want 0\n%s", code, text)
		}
	})
	t.Run("the wrapper is killed", func(t *testing.T) {
		t.Parallel()
		w, log := hooked(t, "--on-active", "echo begun; "+hang)
		awaitSaid(t, log, "begun")
		w.signal(syscall.SIGKILL)
		w.code()
		for end := time.Now().Add(20 * time.Second); len(w.left()) > 0; time.Sleep(5 * time.Millisecond) { // nobody tells of their end
			if time.Now().After(end) {
				t.Fatalf("left: %q", w.left())
			}
		}
	})
}

// TestHookAfterALoss: what is left of the promise bounds a hook that hangs. The process stays, and
// works again.
func TestHookAfterALoss(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.more = []string{"--on-standby", `trap "" TERM; echo begun; sleep 1300 & wait; sleep 1300`}
	r.startAll()
	now := r.settle()
	others := slices.DeleteFunc(slices.Clone(r.ids), func(id string) bool { return id == now.id })
	for _, id := range others {
		r.kill(id, syscall.SIGKILL)
	}
	r.awaitLog(now.id, `msg="killing the hook"`)
	for _, id := range others {
		r.start(id)
	}
	r.active(now.token)
	state, _ := r.state(r.procs[now.id].Process.Pid)
	if log := r.log(now.id); state == "" || state == "Z" || strings.Contains(log, "has not ended within") {
		t.Errorf("the process that lost the role is gone, or its hook had all of its time:\n%s", log)
	}
	r.finish()
}

// TestHooksOfRoles: what a role says of its hooks counts more than what is said for all.
func TestHooksOfRoles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "understudy.yaml")
	notes := filepath.Join(dir, "notes")
	must(t, os.WriteFile(file, []byte(fmt.Sprintf(`backend: memory
onActive: echo all $UNDERSTUDY_ROLE >> %[1]s
roles:
- {name: one, command: sleep 1000}
- {name: two, command: sleep 1000, onActive: echo own $UNDERSTUDY_ROLE >> %[1]s}
- {name: three, command: sleep 1000, onActive: ""}
`, notes)), 0o600))
	w := wrap(t, "", "--config", file)
	w.cmd.Args = []string{w.cmd.Args[0], "run", "--config", file}
	var log bytes.Buffer
	w.cmd.Stderr = &log
	w.start()
	for end := time.Now().Add(20 * time.Second); len(noted(t, notes)) < 2; time.Sleep(5 * time.Millisecond) { // a file tells nobody
		if time.Now().After(end) {
			break
		}
	}
	w.signal(syscall.SIGTERM)
	w.code()
	lines := noted(t, notes)
	slices.Sort(lines)
	if want := []string{"all one", "own two"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q\n%s", lines, want, log.String())
	}
}
