//go:build linux

package procgroup

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// set sets a deadline that is so far away.
func set(d *Deadline, left time.Duration) {
	d.Set(clock(unix.CLOCK_MONOTONIC_RAW)+left, clock(unix.CLOCK_BOOTTIME)+left)
}

// within returns a deadline that is so far away.
func within(left string) *Deadline {
	far, err := time.ParseDuration(left)
	if err != nil {
		panic(err)
	}
	d, err := NewDeadline()
	if err != nil {
		panic(err)
	}
	set(d, far)
	return d
}

// TestDeadline moves a deadline on, and then does not any more: all kinds of daemons live
// until then, and no longer, though this process does nothing.
func TestDeadline(t *testing.T) {
	s := shell(daemons)
	s.Deadline = within("1s")
	g, pids := reading(t, s, 4)
	for range 4 {
		time.Sleep(300 * time.Millisecond) // less than what is left each time
		for _, pid := range pids {
			if !lives(pid) {
				t.Fatalf("%d of %d was killed before the deadline", pid, pids)
			}
		}
		set(s.Deadline, time.Second)
	}
	<-g.Gone()
	if left := s.Deadline.moment.left(); left > 0 {
		t.Errorf("gone %v before the deadline", left)
	}
	for _, pid := range pids {
		if lives(pid) {
			t.Errorf("%d of %d lives", pid, pids)
		}
	}
	if g.Code() != 128+int(syscall.SIGKILL) {
		t.Errorf("code %d", g.Code())
	}
}

// TestDeadlineByOneClock is over when one of the clocks says so.
func TestDeadlineByOneClock(t *testing.T) {
	for _, over := range [][2]time.Duration{{0, time.Hour}, {time.Hour, 0}} {
		s := shell("exec sleep 1000")
		s.Deadline = within("1h")
		g := startSpec(t, s)
		s.Deadline.Set(clock(unix.CLOCK_MONOTONIC_RAW)+over[0], clock(unix.CLOCK_BOOTTIME)+over[1])
		g.Signal(syscall.SIGCONT) // any order has the init look
		select {
		case <-g.Gone():
		case <-time.After(10 * time.Second):
			t.Errorf("it works on with %v left", over)
		}
	}
}

// TestDeadlineOfTheStopped stops the process that has a group, for good: the deadline
// that it had set last holds.
func TestDeadlineOfTheStopped(t *testing.T) {
	cmd, pids := parent(t, "2s")
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	for _, pid := range pids {
		if !lives(pid) {
			t.Fatalf("%d of %d does not live, so this shows nothing", pid, pids)
		}
	}
	eventually(t, "nothing lives", func() bool { return !slices.ContainsFunc(pids, lives) })
	if p, err := stat(cmd.Process.Pid); err != nil || p.state != "T" {
		t.Errorf("the process is not stopped, so this shows nothing: %+v, %v", p, err)
	}
}

// TestDeadlineIsOver starts nothing then.
func TestDeadlineIsOver(t *testing.T) {
	s := shell("exec sleep 1000")
	var err error
	if s.Deadline, err = NewDeadline(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []time.Duration{-clock(unix.CLOCK_BOOTTIME), -1} { // never set, and just over
		if left == -1 {
			set(s.Deadline, left)
		}
		if _, err := Start(context.Background(), s); !errors.Is(err, syscall.ETIME) {
			t.Errorf("%v, want %v", err, syscall.ETIME)
		}
	}
}

// TestMomentIsWhole interrupts a writer in the midst of a change: the moment before counts.
func TestMomentIsWhole(t *testing.T) {
	var m moment
	m.set(time.Hour, time.Hour)
	m.set(2*time.Hour, 2*time.Hour)
	before := m.left()
	m.places[1].raw.Store(0) // where the next one would be written
	if after := m.left(); after < before-time.Minute {
		t.Errorf("%v was left, and %v with half of a change", before, after)
	}
}
