package procgroup

import (
	"errors"
	"syscall"
	"testing"
)

// TestInitIsKeptAwake stops an init: while its gate waits, so that it begins all the same, and
// later, so that the end of its command is heard of.
func TestInitIsKeptAwake(t *testing.T) {
	s := shell("echo $$; exec sleep 1000")
	s.Gate = func(id ID) error { return syscall.Kill(id.pid(), syscall.SIGSTOP) }
	g, pids := reading(t, s, 1)
	for range 3 {
		if err := syscall.Kill(g.id.pid(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-g.Done()
	if g.Code() != 128+int(syscall.SIGKILL) {
		t.Errorf("code %d", g.Code())
	}
	<-g.Gone()
	eventually(t, "the init has ended", func() bool { return errors.Is(syscall.Kill(g.id.pid(), 0), syscall.ESRCH) })
}

// TestStoppedInitAsksItsCommand: a stop that is asked for while the init is stopped is heard.
func TestStoppedInitAsksItsCommand(t *testing.T) {
	g, _ := reading(t, shell("trap 'exit 3' TERM; echo $$; while :; do sleep 0.01; done"), 1)
	if err := syscall.Kill(g.id.pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	g.Terminate()
	if err := syscall.Kill(g.id.pid(), syscall.SIGSTOP); err != nil { // after it was woken for that
		t.Fatal(err)
	}
	<-g.Gone()
	if g.Code() != 3 {
		t.Errorf("code %d, want 3", g.Code())
	}
}
