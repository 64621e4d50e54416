//go:build linux

package procgroup

import (
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestFiles gives a program two files besides. It finds each under the number that a variable says,
// and its init keeps none of them open.
func TestFiles(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	lab.Must(t, err)
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	text, in, err := os.Pipe()
	lab.Must(t, err)
	_, err = in.WriteString("from a pipe")
	lab.Must(t, err)
	lab.Must(t, in.Close())
	defer text.Close()
	s := Spec{Path: "/bin/bash", Argv: []string{"bash", "-c", `cat <&$PIPE >&$SOCKET; eval "exec sleep 1000 $SOCKET<&-"`}, Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	s.Files = []File{{"SOCKET", theirs}, {"PIPE", text}}
	s.Deadline = within("1h")
	g := startSpec(t, s)
	lab.Must(t, theirs.Close())
	if said, err := io.ReadAll(ours); err != nil || string(said) != "from a pipe" { // to the end: nobody else has it
		t.Errorf("%q, %v", said, err)
	}
	select {
	case <-g.Done():
		t.Error("the program has ended")
	default:
	}
}

// TestDeadlineMovesBack lets a group live without an end, and then ends it.
func TestDeadlineMovesBack(t *testing.T) {
	s := shell("exec sleep 1000")
	s.Deadline = within("1h")
	s.Deadline.Set(Never, Never)
	g := startSpec(t, s)
	set(s.Deadline, 200*time.Millisecond)
	g.Signal(0)
	select {
	case <-g.Gone():
	case <-time.After(10 * time.Second):
		t.Error("it works on")
	}
	if left := s.Deadline.moment.left(); left > 0 {
		t.Errorf("gone %v before the deadline", left)
	}
}
