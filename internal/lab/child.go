//go:build unix

package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/process"
)

// A Child is a process that a test talks with, line by line. It ends with the test. Its
// methods may fail the test, so they belong to the test's goroutine.
type Child struct {
	*process.Process
	t     testing.TB
	in    io.WriteCloser // nil: the command has a standard input of its own
	lines chan string
}

// Heed has the processes that tests start heed SIGINT and SIGHUP, also where this one was
// started to ignore them, as by nohup: who is started by it would ignore them, too.
func Heed() {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig) // nobody reads it: here it stays ignored
		}
	}
}

// Talk starts cmd, whose standard output and, unless it has one already, input are the
// test's then.
func Talk(t testing.TB, cmd *exec.Cmd) *Child {
	t.Helper()
	c := &Child{t: t, lines: make(chan string, 1<<16)}
	var err error
	if cmd.Stdin == nil {
		c.in, err = cmd.StdinPipe()
		Must(t, err)
	}
	c.Process, err = process.Start(cmd, func(line string) { c.lines <- line })
	Must(t, err)
	go func() {
		c.Drain()
		close(c.lines)
	}()
	t.Cleanup(c.Kill)
	return c
}

// Kill ends the process with SIGKILL, where it has not ended, and waits until nobody is left
// who could write a line.
func (c *Child) Kill() {
	_ = c.Signal(os.Kill) // it fails where it has ended
	for range c.lines {
	}
	<-c.Gone()
}

// Say gives an order. A process that is paused finds it when it wakes.
func (c *Child) Say(order string) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.in, order)
	Must(c.t, err)
}

// Speaks reports whether there is a line to be heard.
func (c *Child) Speaks() bool { return len(c.lines) > 0 }

// Hear waits for the next line.
func (c *Child) Hear() string {
	c.t.Helper()
	select {
	case line, ok := <-c.lines:
		if !ok {
			c.t.Fatalf("process %d ended: %v", c.PID(), c.Wait())
		}
		return line
	case <-time.After(Patience):
		c.t.Fatalf("process %d is silent", c.PID())
		return ""
	}
}

// Want fails unless the next line is this.
func (c *Child) Want(line string) {
	c.t.Helper()
	if got := c.Hear(); got != line {
		c.t.Fatalf("process %d says %q, want %q", c.PID(), got, line)
	}
}

// Rest closes the process's standard input, waits for its end and returns what it had still
// to say.
func (c *Child) Rest() (lines []string) {
	c.t.Helper()
	if c.in != nil {
		_ = c.in.Close() // it may be closed already
	}
	for line := range c.lines {
		lines = append(lines, line)
	}
	<-c.Gone()
	return lines
}

// Output starts cmd and returns its standard output. The caller waits for its end.
func Output(t testing.TB, cmd *exec.Cmd) io.ReadCloser {
	t.Helper()
	out, err := cmd.StdoutPipe()
	Must(t, err)
	Must(t, cmd.Start())
	return out
}

// Self is the command that starts this test binary once more, told by a variable, as JSON,
// what it is to be.
func Self(t testing.TB, variable string, what any) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(what)
	Must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), variable+"="+string(text)), os.Stderr
	return cmd
}
