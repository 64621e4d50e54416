package fencingtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a contender that runs.
type process struct {
	testing.TB
	contender
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	once  sync.Once
}

func (c contender) start(t testing.TB) *process {
	t.Helper()
	text, err := json.Marshal(c)
	must(t, err)
	p := &process{TB: t, contender: c, cmd: exec.Command(os.Args[0]), lines: make(chan string, 1<<16)}
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	p.cmd.Stderr = os.Stderr
	p.in, err = p.cmd.StdinPipe()
	must(t, err)
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	must(t, p.cmd.Start())
	t.Cleanup(p.kill)
	go func() {
		defer close(p.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			p.lines <- in.Text()
		}
	}()
	return p
}

// pause stops the process, and returns when all of its threads stand still.
func (p *process) pause() {
	p.Helper()
	must(p, p.cmd.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	if must(p, err); !status.Stopped() {
		p.Fatalf("contender %s did not stop: %v", p.ID, status)
	}
}

func (p *process) wake() {
	p.Helper()
	must(p, p.cmd.Process.Signal(syscall.SIGCONT))
}

// say gives an order. A process that is paused finds it when it wakes.
func (p *process) say(order string) {
	p.Helper()
	_, err := fmt.Fprintln(p.in, order)
	must(p, err)
}

// hear waits for the next line.
func (p *process) hear() string {
	p.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.Fatalf("contender %s ended", p.ID)
		}
		return line
	case <-time.After(time.Minute):
		p.Fatalf("contender %s is silent", p.ID)
		return ""
	}
}

// want fails unless the next line is this.
func (p *process) want(line string) {
	p.Helper()
	if got := p.hear(); got != line {
		p.Fatalf("contender %s says %q, want %q", p.ID, got, line)
	}
}

// token waits until the contender is active.
func (p *process) token() (token uint64) {
	p.Helper()
	if _, err := fmt.Sscanf(p.hear(), "active %d", &token); err != nil {
		p.Fatal(err)
	}
	return token
}

// end has the contender stop by itself, and returns what it had still to say.
func (p *process) end() (lines []string) {
	p.Helper()
	must(p, p.in.Close())
	for line := range p.lines {
		lines = append(lines, line)
	}
	p.once.Do(func() {
		if err := p.cmd.Wait(); err != nil {
			p.Errorf("contender %s: %v", p.ID, err)
		}
	})
	return lines
}

func (p *process) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		for range p.lines {
		}
		_ = p.cmd.Wait() // it was killed
	})
}

// said returns the ends of the lines that begin so.
func said(lines []string, begin string) (ends []string) {
	for _, line := range lines {
		if end, ok := strings.CutPrefix(line, begin); ok {
			ends = append(ends, end)
		}
	}
	return ends
}
