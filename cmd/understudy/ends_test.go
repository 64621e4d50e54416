package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// A wrapped is a wrapper in a process of its own, on a store of its own.
type wrapped struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bufio.Scanner
}

// wrap runs a script under a wrapper, with the flags given.
func wrap(t *testing.T, script string, flags ...string) *wrapped {
	t.Helper()
	args := append([]string{"run", "--backend", "memory", "--role", "r"}, flags...)
	cmd := exec.Command(os.Args[0], append(args, "--", "sh", "-c", script)...)
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return &wrapped{t, cmd, bufio.NewScanner(out)}
}

func (w *wrapped) start() {
	w.t.Helper()
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { w.signal(syscall.SIGKILL) })
	w.t.Cleanup(func() {
		watchdog.Stop()
		w.signal(syscall.SIGTERM)
		w.signal(syscall.SIGTERM)
		_ = w.cmd.Wait()
	})
}

func (w *wrapped) signal(s syscall.Signal) { _ = w.cmd.Process.Signal(s) }

func (w *wrapped) expect(want string) {
	w.t.Helper()
	if !w.out.Scan() || w.out.Text() != want {
		w.t.Fatalf("got %q, want %q", w.out.Text(), want)
	}
}

// code reads what is left, and waits for the end of the wrapper.
func (w *wrapped) code() int {
	for w.out.Scan() {
	}
	_ = w.cmd.Wait()
	return w.cmd.ProcessState.ExitCode()
}

// TestSecondStop kills at once what a first stop waits for.
func TestSecondStop(t *testing.T) {
	t.Parallel()
	w := wrap(t, `trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done`, "--stop-timeout", "1h")
	w.start()
	w.expect("ready")
	w.signal(syscall.SIGTERM)
	w.expect("asked")
	w.signal(syscall.SIGINT)
	if code := w.code(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestStopSentTwice expects a stop that comes twice at once, as from timeout(1), to be one: the
// command has its time.
func TestStopSentTwice(t *testing.T) {
	t.Parallel()
	w := wrap(t, `trap 'sleep 1; echo ended; exit 0' TERM; echo ready; while :; do sleep 0.05; done`, "--stop-timeout", "1h")
	w.start()
	w.expect("ready")
	w.signal(syscall.SIGTERM)
	w.signal(syscall.SIGTERM)
	w.expect("ended")
	if code := w.code(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestWholeServiceIsStopped sends wrapper and command the signal, as a service manager does:
// that is a stop, in whichever order they hear of it, and however the command ends.
func TestWholeServiceIsStopped(t *testing.T) {
	t.Parallel()
	for what, script := range map[string]string{
		"killed by it":  `echo $$; exec sleep 1000`,
		"ends with 143": `trap 'exit 143' TERM; echo $$; while :; do sleep 0.01; done`,
		"ends with 1":   `trap 'exit 1' TERM; echo $$; while :; do sleep 0.01; done`,
		"ends with 0":   `trap 'exit 0' TERM; echo $$; while :; do sleep 0.01; done`,
	} {
		for _, order := range []string{"the command first", "the wrapper first", "the wrapper some time after the command"} {
			for _, more := range [][]string{nil, {"--on-exit", "restart"}} {
				w := wrap(t, script, more...)
				w.start()
				w.out.Scan()
				pid, err := strconv.Atoi(w.out.Text())
				if err != nil {
					t.Fatal(err)
				}
				if order == "the wrapper first" {
					w.signal(syscall.SIGTERM)
				}
				_ = syscall.Kill(pid, syscall.SIGTERM)
				if order == "the wrapper some time after the command" {
					time.Sleep(100 * time.Millisecond) // it has long ended
				}
				if order != "the wrapper first" {
					w.signal(syscall.SIGTERM)
				}
				if code := w.code(); code != 0 {
					t.Errorf("the command %s, %s %v: exit code %d, want 0", what, order, more, code)
				}
			}
		}
	}
	for script, want := range map[string]int{`kill -TERM $$; sleep 1000`: 143, `exit 1`: 1} {
		w := wrap(t, script)
		w.start()
		if code := w.code(); code != want {
			t.Errorf("%s, and no stop: exit code %d, want %d", script, code, want)
		}
	}
}

// TestStoppedWhileItStarts: a stop that is asked for before the settings are read is one, too.
func TestStoppedWhileItStarts(t *testing.T) {
	for _, args := range [][]string{{"run", "--role", "r", "--", "true"}, {"raft-voter", "--id", "a"}} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			settings := filepath.Join(t.TempDir(), "settings.yaml") // a pipe: reading it waits
			must(t, syscall.Mkfifo(settings, 0o600))
			cmd := exec.Command(os.Args[0], slices.Insert(slices.Clone(args), 1, "--config", settings)...)
			cmd.Env, cmd.Stderr = append(os.Environ(), "UNDERSTUDY_TEST=wrapper"), os.Stderr
			must(t, cmd.Start())
			f, err := os.OpenFile(settings, os.O_WRONLY, 0) // when it is being read
			if err != nil {
				t.Fatal(err)
			}
			must(t, cmd.Process.Signal(sig))
			_ = cmd.Wait()
			must(t, f.Close())
			if code := cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("%s, %v: %v, want exit code 0", args[0], sig, cmd.ProcessState)
			}
		}
	}
}

// TestIgnoredStaysIgnored: what is ignored at the start, as by nohup, ends neither the wrapper
// nor its command.
func TestIgnoredStaysIgnored(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		w := wrap(t, `trap 'echo heard' HUP INT; kill -HUP $$; kill -INT $$; trap 'echo asked; exit 0' USR1; echo ready; while :; do sleep 0.01; done`)
		w.cmd.Args = append([]string{"sh", "-c", `trap "" HUP INT; exec "$0" "$@"`}, w.cmd.Args...)
		w.cmd.Path = "/bin/sh"
		w.start()
		w.expect("ready")
		w.signal(sig)
		w.signal(syscall.SIGUSR1) // passed on after it
		w.expect("asked")
		if code := w.code(); code != 0 {
			t.Errorf("%v: exit code %d, want 0", sig, code)
		}
	}
}

// TestOnlyLate: what has not returned makes no failure of a stop that was asked for, and hides no other.
func TestOnlyLate(t *testing.T) {
	late := fmt.Errorf("Standby %w 2s after its context ended", coordinator.ErrNotReturned)
	for _, c := range []struct {
		err, cause error
		only       bool
	}{
		{errors.Join(late), fmt.Errorf("%w: terminated", coordinator.ErrStopping), true},
		{errors.Join(late), fmt.Errorf("%w: %w", errRoleLost, coordinator.ErrStopping), false},
		{errors.Join(late), nil, false},
		{lock.ErrPermanent, coordinator.ErrStopping, false},
		{nil, coordinator.ErrStopping, false},
	} {
		if only := onlyLate(c.err, c.cause); only != c.only {
			t.Errorf("%v, as %v: %v, want %v", c.err, c.cause, only, c.only)
		}
	}
}

// TestNobodyReadsTheLog closes the wrapper's standard error: its command works on.
func TestNobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	w := wrap(t, `trap 'echo working' HUP; echo ready; while :; do sleep 0.05; done`, "--heartbeat", "100ms")
	errs, err := w.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	w.expect("ready")
	errs.Close()
	time.Sleep(300 * time.Millisecond) // some lines that nobody reads
	w.signal(syscall.SIGHUP)
	w.expect("working")
	w.signal(syscall.SIGTERM)
	if code := w.code(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestRestartsAreFewLines: a command that ends again and again does not fill the log, which
// says how it ends, and not that it failed.
func TestRestartsAreFewLines(t *testing.T) {
	t.Parallel()
	w := wrap(t, `echo again`, "--on-exit", "restart", "--log-level", "info")
	var log lab.Said
	w.cmd.Stderr = &log
	w.start()
	for range 20 {
		w.expect("again")
	}
	w.signal(syscall.SIGTERM)
	w.code()
	text := log.String()
	if n := strings.Count(text, "\n"); n > 20 || strings.Count(text, "the command ended with code 0") != 2 || strings.Contains(text, "failed") {
		t.Errorf("twenty terms are %d lines:\n%s", n, text)
	}
}

// TestStandardInput is the command's with --stdin alone.
func TestStandardInput(t *testing.T) {
	t.Parallel()
	for want, flags := range map[string][]string{"nothing": nil, "hello": {"--stdin"}} {
		w := wrap(t, `read line; echo "${line:-nothing}"`, flags...)
		w.cmd.Stdin = strings.NewReader("hello\n")
		w.start()
		w.expect(want)
		w.code()
	}
}

// TestNotStarted says why a command that is there could not be started.
func TestNotStarted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(path, []byte("\x7fgarbage\x00"), 0o700); err != nil {
		t.Fatal(err)
	}
	var errs lab.Said
	cmd := exec.Command(os.Args[0], "run", "--backend", "memory", "--role", "r", "--", path)
	cmd.Env, cmd.Stderr = append(os.Environ(), "UNDERSTUDY_TEST=wrapper"), &errs
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 127 || !strings.Contains(errs.String(), "exec format error") {
		t.Errorf("exit code %d, want 127 and the reason\n%s", code, errs.String())
	}
}

// TestLost cuts the active off from a majority: its command ends, and with
// --on-loss=exit so does it. A store that nobody reaches has a code of its own.
func TestLost(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.startAll("--on-loss", "exit", "--hang-timeout", "0")
	now := r.active(0)
	r.inLine(2)
	active := r.procs[now.id]
	delete(r.procs, now.id)
	for id := range r.procs {
		r.kill(id, syscall.SIGKILL)
	}
	_ = active.Wait()
	if code := active.ProcessState.ExitCode(); code != cli.Lost {
		t.Errorf("exit code %d, want %d", code, cli.Lost)
	}
	for _, args := range [][]string{{"status", "--timeout", "300ms"}, {"handoff", "--timeout", "300ms"}} {
		var errs lab.Said
		code := execute(t.Context(), append(args, "--role", "r", "--raft-peers", r.store.Raft.Peers[0].String()), io.Discard, &errs)
		if code != cli.Unavailable || !strings.Contains(errs.String(), "the store cannot be reached") {
			t.Errorf("%s: exit code %d, want %d\n%s", args[0], code, cli.Unavailable, errs.String())
		}
	}
	r.judge()
}
