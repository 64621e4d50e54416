//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestChecksLeaveNothing has a check leave a daemon behind ten times a second: each is
// gone when its check is over, nothing grows, and the command works on. A check that hangs
// takes what it has left with it.
func TestChecksLeaveNothing(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.ttl, r.through = 20*time.Second, map[string][]string{}
	checks := filepath.Join(r.dir, "checks")
	r.more = []string{
		"--health-interval", "100ms", "--health",
		"setsid -f sleep 1235; echo >> " + checks + ".$UNDERSTUDY_CHECKS; test ! -e " + filepath.Join(r.dir, "hang") + " || sleep 1236",
	}
	for _, id := range r.ids {
		r.through[id] = []string{"env", "UNDERSTUDY_CHECKS=" + id}
		r.start(id)
	}
	now := r.settle()
	done := func() int {
		text, _ := os.ReadFile(checks + "." + now.id)
		return bytes.Count(text, []byte("\n"))
	}
	await := func(n int) {
		t.Helper()
		r.eventually(strconv.Itoa(n)+" checks are over", func() bool { return done() >= n })
	}
	left := func(of string) (n int) {
		for _, p := range r.left() {
			if strings.Contains(p, ": sleep "+of) {
				n++
			}
		}
		return n
	}
	await(10)
	before := r.holdings(now.id)
	for n := 20; n <= 60; n += 5 {
		await(n)
		if n := left("1235"); n > len(r.ids) {
			t.Errorf("%d daemons live, which is more than one of each check that runs", n)
		}
	}
	if after := r.holdings(now.id); after > before+20 { // connections come and go
		t.Errorf("%d descriptors, and %d forty checks later", before, after)
	}
	if state, _ := r.state(now.pid); state == "" || state == "Z" {
		t.Error("the command was killed")
	}
	if err := os.WriteFile(filepath.Join(r.dir, "hang"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.eventually("checks hang", func() bool { return left("1236") > 0 })
	for _, id := range r.ids {
		r.kill(id, syscall.SIGKILL)
	}
	r.eventually("nothing of the checks is left", func() bool { return left("1235")+left("1236") == 0 })
}

// TestCheckThatIsTimedOut: a check that has a time limit of its own leaves nothing behind when that is over: not even what
// went into the background, and ignores SIGTERM.
func TestCheckThatIsTimedOut(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	daemon := `trap "" TERM; setsid -f sh -c "echo \$\$ > ` + file + `; exec sleep 1235"; trap - TERM; sleep 1236`
	h := &health{command: "timeout 2 sh -c '" + daemon + "'", log: slog.New(slog.DiscardHandler)}
	err := h.check(t.Context())
	defer func() { h.checks.End() }()
	if err == nil || !strings.Contains(err.Error(), "code 124") {
		t.Errorf("a check that was ended by timeout(1): %v, want its code, 124", err)
	}
	text, err := os.ReadFile(file)
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	if syscall.Kill(pid, 0) == nil {
		t.Errorf("process %d has outlived its check", pid)
	}
}

// TestCheckThatHangs: a check without a time limit has the hang timeout. Then the witness ends its process, and with it all
// that the check has left, which ignores SIGTERM; the others, which go on, have nothing to do with it.
func TestCheckThatHangs(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = 5 * time.Second
	hang := filepath.Join(r.dir, "hang")
	daemon := `trap "" TERM; setsid -f sh -c "exec sleep 1237"; exec sleep 1238`
	r.through = map[string][]string{}
	r.more = []string{"--hang-timeout", "2s", "--health-interval", "100ms", "--health", "if test -e " + hang + ".$UNDERSTUDY_CHECKS; then " + daemon + "; fi"}
	for _, id := range r.ids {
		r.through[id] = []string{"env", "UNDERSTUDY_CHECKS=" + id}
		r.start(id)
	}
	now := r.settle()
	must(t, os.WriteFile(hang+"."+now.id, nil, 0o600))
	if next := r.active(now.token); next.id == now.id {
		t.Errorf("%s works again, whose check hangs", now.id)
	}
	if code := r.ended(now.id).ExitCode(); code != -1 { // by a signal
		t.Errorf("%s ended with code %d, want its witness to have killed it", now.id, code)
	}
	r.eventually("nothing of the check is left", func() bool {
		return !strings.Contains(strings.Join(r.left(), "\n"), ": sleep 123")
	})
	for _, id := range r.others(now.id) {
		if state, _ := r.state(r.procs[id].Process.Pid); state == "" || state == "Z" {
			t.Errorf("%s has ended, too", id)
		}
	}
	must(t, os.Remove(hang+"."+now.id))
	r.start(now.id)
	r.finish()
}

// holdings counts the descriptors of a wrapper and of the inits below it.
func (r *trio) holdings(id string) (n int) {
	wrapper := r.procs[id].Process.Pid
	for _, pid := range append(r.inits(id), wrapper) {
		open, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
		if err != nil {
			r.t.Fatal(err)
		}
		n += len(open)
	}
	return n
}

// TestCheck tells what a check said, also after its init was killed.
func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "code")
	var said bytes.Buffer
	h := &health{command: "echo says so; exit $(cat " + file + ")", log: slog.New(slog.NewTextHandler(&said, nil))}
	for _, code := range []string{"0", "3", "0"} {
		if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		err := h.check(t.Context())
		if (err == nil) != (code == "0") || err != nil && !strings.Contains(err.Error(), "code "+code) {
			t.Errorf("exit code %s: %v", code, err)
		}
	}
	h.checks.End()
	if err := h.check(t.Context()); err != nil {
		t.Errorf("after its init was killed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.check(ctx); err == nil {
		t.Error("a check that was given up succeeded")
	}
}

// TestCheckThatFails: the last lines of a check that fails are told whenever it begins to fail, or fails in another way,
// also where the same was told before; while it goes on failing in the same way, and where it succeeds, they are not.
func TestCheckThatFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "script")
	said := new(lab.Said)
	h := &health{command: "sh " + file, log: slog.New(slog.NewTextHandler(said, nil))}
	trace := "for i in $(seq 20); do echo called from $i; done; "
	told := func(line string) int { return strings.Count(said.String(), `line="`+line+`"`) }
	checks := func(n int, script, line string, want int) {
		t.Helper()
		must(t, os.WriteFile(file, []byte(trace+script), 0o600))
		before := told(line)
		for range n {
			_ = h.check(t.Context())
			time.Sleep(3 * settling) // that something is told no more cannot be waited for
		}
		lab.Eventually(t, line+" is told", func() bool { return told(line) >= before+want })
		if got := told(line) - before; got != want {
			t.Errorf("%q is told %d times, want %d:\n%s", line, got, want, said.String())
		}
	}
	defer func() { h.checks.End() }()
	checks(2, "echo all is well", "all is well", 0)
	checks(3, "echo no database; exit 1", "no database", 1)
	checks(2, "echo no disk; exit 1", "no disk", 1)
	checks(2, "echo all is well", "all is well", 0)
	checks(2, "echo no disk; exit 1", "no disk", 1)
}

// TestCheckThatTalks: a check that prints each time costs a few lines, however much it prints,
// and something new is told.
func TestCheckThatTalks(t *testing.T) {
	for name, c := range map[string]struct {
		command, want string
		most          int
	}{
		"the same":     {"for i in $(seq 100); do echo fine; done; echo the disk is full", `msg="the health command says" line="the disk is full" dropped=99`, 2},
		"each another": {"seq 100", "line=1\n", 8},
		"one long":     {"head -c 100000 /dev/zero | tr '\\0' x; echo; echo short", "line=short", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			in, err := os.CreateTemp(t.TempDir(), "out")
			if err != nil {
				t.Fatal(err)
			}
			command := exec.Command("/bin/sh", "-c", c.command)
			command.Stdout = in
			if err := command.Run(); err != nil {
				t.Fatal(err)
			}
			if _, err := in.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			relayFrom(in, slog.New(slog.NewTextHandler(&said, nil)), "the health command says", nil)
			if n := strings.Count(said.String(), "\n"); n > c.most || !strings.Contains(said.String(), c.want) || said.Len() > 4096 {
				t.Errorf("%d lines, want %q and at most %d:\n%s", n, c.want, c.most, said.String())
			}
		})
	}
}

// TestHandoffToTheUnhealthy: status says who is not healthy, and a handoff to that one is refused, by the same word.
func TestHandoffToTheUnhealthy(t *testing.T) { onEveryStore(t, testHandoffToTheUnhealthy) }

func testHandoffToTheUnhealthy(t *testing.T, r *trio) {
	r.own = map[string][]string{"b": {"--health", "exit 1"}, "c": {"--health", "exit 1"}}
	r.startAll()
	now := r.active(0)
	r.inLine(2)
	r.shows("not healthy")
	r.expect(cli.NotDone, "b is not healthy, and "+now.id+" stays active", "handoff", "--role", "r", "--to", "b")
	r.expect(cli.NotDone, "c is not healthy", "handoff", "--role", "r")
	for id := range r.procs {
		r.kill(id, syscall.SIGTERM)
	}
	r.judge()
}
