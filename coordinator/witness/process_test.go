//go:build linux

package witness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

// TestMain is also a witness, and a program that forgot that it is one.
func TestMain(m *testing.M) {
	switch os.Getenv("UNDERSTUDY_TEST") {
	case "forgot":
		_ = New(nil).Start(coordinator.Config{ID: "a"})
		os.Exit(1)
	case "forgot, and cannot open its store": // which the first of it has open
		os.Exit(1)
	}
	Main(func(context.Context, json.RawMessage) (lock.Locker, error) { return &judge{}, nil })
	os.Exit(m.Run())
}

// A judge is a store that looks, when a session is ended, at what is left of its processes.
type judge struct {
	lock.Locker
	look func()
}

func (j *judge) Watch(context.Context, ...string) iter.Seq2[lock.Standing, error] {
	return func(func(lock.Standing, error) bool) {}
}

func (j *judge) Evict(context.Context, lock.SessionID, lock.Beat, lock.End) error {
	j.look()
	return nil
}

// TestNoWitnessStandsBy: a witness that does not stand by may be the machine's fault, so a supervisor may start the process again.
// Witnesses that end one after the other are few lines.
func TestNoWitnessStandsBy(t *testing.T) {
	t.Parallel()
	var log lab.Said
	killed := filepath.Join(t.TempDir(), "killed")
	if err := os.WriteFile(killed, []byte("#!/bin/sh\nkill -KILL $$\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	w := By(killed, nil)
	err := w.Start(coordinator.Config{ID: "a", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if !errors.Is(err, syscall.EAGAIN) || !strings.Contains(err.Error(), "witness.Main") {
		t.Errorf("error %v, want one of the machine that names witness.Main", err)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "the witness ended, another is started") {
		t.Errorf("of one witness after the other it says:\n%s", text)
	}
}

// TestMainIsNotCalled: a program that does not call Main is told so at once, also where it ends before that matters.
func TestMainIsNotCalled(t *testing.T) {
	for _, program := range []string{"forgot", "forgot, and cannot open its store"} {
		t.Setenv("UNDERSTUDY_TEST", program)
		var log lab.Said
		began := time.Now()
		err := New(nil).Start(coordinator.Config{ID: "a", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil || !strings.Contains(err.Error(), "must call witness.Main first") || errors.Is(err, syscall.EAGAIN) || time.Since(began) > starting {
			t.Errorf("error %v after %v, want that of a program that does not call witness.Main", err, time.Since(began))
		}
		if text := log.String(); text != "" {
			t.Errorf("beside the error it says:\n%s", text)
		}
	}
}

// lives reports whether a process has not ended, and in which process group it is.
func lives(pid string) (group int, yes bool) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var state string
	var parent int
	_, err = fmt.Sscan(rest, &state, &parent, &group)
	return group, err == nil && state != "Z" && state != "X"
}

// members are the living processes of a process group.
func members(t *testing.T, pgid int) (pids []string) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Error(err)
	}
	for _, path := range paths {
		if group, yes := lives(filepath.Base(path)); yes && group == pgid {
			pids = append(pids, filepath.Base(path))
		}
	}
	return pids
}

// stopped reports whether every thread of a process is.
func stopped(t *testing.T, pid int) bool {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%v, and process %d has %d threads", err, pid, len(paths))
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if _, rest, _ := strings.Cut(string(text), ") "); err != nil || !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return true
}

// TestNothingIsLeftWhenTheSessionEnds: the next one may begin then. What was killed takes a
// moment to end, and not always the same: so there are some rounds.
func TestNothingIsLeftWhenTheSessionEnds(t *testing.T) {
	for range 5 {
		endsAll(t)
	}
}

func endsAll(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var id procgroup.ID
	g, err := procgroup.Start(context.Background(), procgroup.Spec{
		Path: "/bin/sh", Argv: []string{"sh", "-c", "for i in $(seq 200); do sleep 600 & done; echo $$ $PPID; wait"}, Env: os.Environ(),
		Stdout: in, Stderr: os.Stderr, Gate: func(its procgroup.ID) error { id = its; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	defer func() { g.Kill(); <-g.Gone() }()
	var pgid int
	var init string
	if _, err := fmt.Fscan(bufio.NewReader(out), &pgid, &init); err != nil {
		t.Fatal(err)
	}
	all := append(members(t, pgid), init) // which ends when nothing of the others is left
	if len(all) <= 200 {
		t.Fatalf("%d processes run", len(all))
	}

	left := -1
	c := &child{
		orders: orders{ID: "a", Promise: lock.Promise{TTL: 10 * time.Second}}, page: &page{}, opened: make(chan struct{}),
		log: slog.New(slog.DiscardHandler), locker: &judge{look: func() {
			left = 0
			for _, pid := range slices.Backward(all) { // at once: they take a moment to end
				if _, yes := lives(pid); yes {
					left++
				}
			}
		}},
	}
	close(c.opened)
	c.page.groups[0].Store(uint64(id))
	c.end("s")
	if left != 0 {
		t.Errorf("%d processes were left when the session was ended; negative: it was not", left)
	}
}

// TestTimerRings: a witness always looks again, also when nothing is due, and at the moment
// at which a hang has lasted long enough.
func TestTimerRings(t *testing.T) {
	for silent, most := range map[time.Duration]time.Duration{
		0:                       2 * time.Second,
		9995 * time.Millisecond: 5 * time.Millisecond,
		10 * time.Second:        2 * time.Second,
		time.Hour:               2 * time.Second, // it has no session
	} {
		timer, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		c := &child{orders: orders{HangTimeout: 10 * time.Second}, page: &page{}, timer: timer, silent: silent}
		c.arm()
		var left unix.ItimerSpec
		if err := unix.TimerfdGettime(timer, &left); err != nil {
			t.Fatal(err)
		}
		fds := []unix.PollFd{{Fd: int32(timer), Events: unix.POLLIN}}
		rang, _ := unix.Poll(fds, 0)
		if d := time.Duration(left.Value.Nano()); d > most || d <= 0 && rang == 0 {
			t.Errorf("silent for %v: it looks again after %v, want at most %v", silent, d, most)
		}
		_ = unix.Close(timer)
	}
}

// startWitness starts a witness that kills nothing, and returns what is logged of it.
func startWitness(t *testing.T) (*Witness, *lab.Said) {
	said, w := new(lab.Said), New(nil)
	if err := w.Start(coordinator.Config{ID: "a", TTL: 10 * time.Second, NoExit: true, Logger: slog.New(slog.NewTextHandler(said, nil))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w, said
}

// TestStoppedWitnessIsReplaced: Guard returns when a witness answers for the group.
func TestStoppedWitnessIsReplaced(t *testing.T) {
	w, said := startWitness(t)
	first := w.PID()
	guards := func(id procgroup.ID) bool {
		for i := range w.page.guarded {
			if w.page.guarded[i].Load() == uint64(id) {
				return true
			}
		}
		return false
	}
	if err := w.Guard(7); err != nil || !guards(7) {
		t.Fatalf("%v, and it is guarded: %v", err, guards(7))
	}
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, "the stop of every thread", func() bool { return stopped(t, first) })
	if err := w.Guard(8); err != nil || !guards(7) || !guards(8) {
		t.Errorf("after the witness was stopped: %v, and both are guarded: %v, %v", err, guards(7), guards(8))
	}
	lab.Eventually(t, "another witness", func() bool { return w.PID() != first })
	lab.Eventually(t, "the news of it", func() bool { return said.Has("a witness stands by again") })
}

// TestIdleWitnessIsReplaced when it is stopped, though nothing is asked of it, and the log says why.
func TestIdleWitnessIsReplaced(t *testing.T) {
	t.Parallel()
	w, said := startWitness(t)
	first := w.PID()
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, "another witness", func() bool { return w.PID() != first })
	lab.Eventually(t, "the news of it", func() bool {
		return said.Has("it was stopped, or hung: signal: killed") && said.Has("a witness stands by again")
	})
	second := w.PID()
	time.Sleep(asking + 2*guarding) // one that looks is left alone
	if w.PID() != second {
		t.Error("a witness that looks was replaced")
	}
	if err := syscall.Kill(second, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, "a third witness", func() bool { return w.PID() != second })
	if err := syscall.Kill(w.PID(), syscall.SIGSTOP); err != nil { // mostly before it stands by
		t.Fatal(err)
	}
	third := w.PID()
	lab.Eventually(t, "a fourth witness", func() bool { return w.PID() != third })
}

// TestWitnessServesOnce: a second Run needs a Witness of its own, and is told so.
func TestWitnessServesOnce(t *testing.T) {
	t.Parallel()
	w, _ := startWitness(t)
	if err := w.Start(coordinator.Config{ID: "a", TTL: 10 * time.Second}); err == nil || !strings.Contains(err.Error(), "give each Run one of its own") {
		t.Errorf("got %v", err)
	}
}

// TestPauseAfter: a witness that ends is replaced at once, and the more slowly the more of them
// end soon.
func TestPauseAfter(t *testing.T) {
	pause := time.Duration(0)
	for range 20 {
		next := pauseAfter(pause, time.Millisecond)
		if next <= pause && next != time.Second || next > time.Second {
			t.Errorf("after a pause of %v it is %v", pause, next)
		}
		pause = next
	}
	if got := pauseAfter(pause, 2*time.Second); got != 0 {
		t.Errorf("after a witness that lived it is %v", got)
	}
}
