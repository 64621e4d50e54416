//go:build linux

package procgroup

import (
	"bufio"
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"
)

// series starts one whose script writes numbers.
func newSeries(t *testing.T, script string) (*Series, *bufio.Scanner) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := shell(script)
	s.Stdout = in
	all, err := StartSeries(s)
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	t.Cleanup(func() {
		all.End()
		<-all.group.Gone()
		out.Close()
	})
	return all, bufio.NewScanner(out)
}

// TestSeries runs a script again and again that leaves all kinds of daemons behind: none
// of them lives when its run is over, the code is the script's, and another group, and
// the init, live on.
func TestSeries(t *testing.T) {
	other, others := reading(t, shell(daemons), 4)
	all, lines := newSeries(t, `setsid -f sh -c 'echo $$; trap "" TERM; sleep 1000 & wait'
setsid -f env -i sh -c 'echo $$; exec sleep 1003'
sleep 0.1; exit 7`)
	init := all.group.id
	for range 10 {
		code, err := all.Run(t.Context())
		if code != 7 || err != nil {
			t.Fatalf("code %d, %v; want 7", code, err)
		}
		if pids := numbers(t, lines, 2); lives(pids[0]) || lives(pids[1]) {
			t.Errorf("one of %d lives when its run is over", pids)
		}
		eventually(t, "nothing lives below the init", func() bool { return tree{root: init.pid()}.dead() })
	}
	for _, pid := range others {
		if !lives(pid) || isGone(other) {
			t.Errorf("%d of another group was killed", pid)
		}
	}
	if !lives(init.pid()) {
		t.Error("the init has ended")
	}
}

// TestSeriesTimedOut has a run that does not end: it ends with its context, and the
// Series with it, and nothing of it is left.
func TestSeriesTimedOut(t *testing.T) {
	all, lines := newSeries(t, `setsid -f sh -c 'trap "" TERM; echo $$; sleep 1000 & wait'; exec sleep 1000`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := all.Run(ctx)
		ended <- err
	}()
	pids := numbers(t, lines, 1)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	<-all.group.Gone()
	if lives(pids[0]) {
		t.Error("gone, and a daemon of a run lives")
	}
	if _, err := all.Run(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("%v, want %v", err, ErrEnded)
	}
}

// TestSeriesNotStarted says why, and runs when it can.
func TestSeriesNotStarted(t *testing.T) {
	s := shell("")
	s.Path = t.TempDir() + "/later"
	all, err := StartSeries(s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { all.End(); <-all.group.Gone() }()
	if _, err := all.Run(t.Context()); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v, want %v", err, syscall.ENOENT)
	}
	if err := os.Symlink("/bin/true", s.Path); err != nil {
		t.Fatal(err)
	}
	if code, err := all.Run(t.Context()); code != 0 || err != nil {
		t.Errorf("code %d, %v", code, err)
	}
}

// TestSeriesInitKilled in the midst of a run: that has no code, and nothing of it is left.
func TestSeriesInitKilled(t *testing.T) {
	all, lines := newSeries(t, `setsid -f sh -c 'echo $$; exec sleep 1000'; exec sleep 1000`)
	ended := make(chan error)
	go func() {
		_, err := all.Run(t.Context())
		ended <- err
	}()
	pids := numbers(t, lines, 1)
	_ = syscall.Kill(all.group.id.pid(), syscall.SIGKILL)
	if err := <-ended; !errors.Is(err, ErrEnded) {
		t.Errorf("%v, want %v", err, ErrEnded)
	}
	select {
	case <-all.group.Gone():
	case <-time.After(10 * time.Second):
		t.Fatal("it is not gone")
	}
	if lives(pids[0]) {
		t.Error("gone, and a daemon of a run lives")
	}
}

// BenchmarkSeries is what a run costs.
func BenchmarkSeries(b *testing.B) {
	all, err := StartSeries(shell("true"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { all.End(); <-all.group.Gone() }()
	for b.Loop() {
		if code, err := all.Run(b.Context()); code != 0 || err != nil {
			b.Fatal(code, err)
		}
	}
}
