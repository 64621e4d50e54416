package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
)

const (
	demoLoad    = 3 * time.Second  // what the program takes to start
	demoWarmTTL = 10 * time.Second // a crash does not cost it
)

// findWrapper finds understudy beside this program, or on the PATH.
func findWrapper() (wrapper string, err error) {
	if runtime.GOOS != "linux" {
		return "", cli.Mistake(errors.New("warm: works on Linux only; leave it out"))
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if wrapper, err = exec.LookPath(filepath.Join(filepath.Dir(self), "understudy")); err == nil {
		return wrapper, nil
	}
	if wrapper, err = exec.LookPath("understudy"); err == nil {
		return wrapper, nil
	}
	return "", cli.Exit(cli.NotDone, fmt.Errorf("warm: runs understudy, which is neither beside %s nor on the PATH: install it with `go install github.com/understudy-ha/understudy/cmd/understudy@latest`, or by `make build` if you built this from source", self))
}

// coldAndWarm kills the active of a program that takes long to start, cold and then warm, and measures how long
// nobody answers requests.
func (s *demoStage) coldAndWarm(ctx context.Context, wrapper string) (err error) {
	s.ttl = demoWarmTTL
	s.print("", "three times understudy run: a, b, c; embedded Raft on loopback, ttl %v, a witness beside each, and a program that takes %v to start; takeovers are measured from SIGKILL to the first request that is answered", s.ttl, demoLoad)
	last := uint64(0)
	for _, how := range []struct{ what, flag, why string }{
		{"cold", "--warm=off", "the program is started when the role is taken"},
		{"warm", "--warm", "the program is ready, and is told to work"},
	} {
		s.command = func(id string) *exec.Cmd { return s.wrapped(wrapper, id, how.flag) }
		if last, err = s.replace(ctx, last, how.what, how.why); err != nil {
			return err
		}
	}
	s.print("", "nothing is left behind")
	s.table()
	return nil
}

// replace starts all, kills the active, waits for an answer of the next one, and stops all. It returns the last token.
func (s *demoStage) replace(ctx context.Context, last uint64, how, why string) (uint64, error) {
	if err := s.startAll(); err != nil {
		return 0, err
	}
	old, err := s.answered(ctx, last)
	if err != nil {
		return 0, err
	}
	if err := s.inLine(ctx, 2); err != nil {
		return 0, err
	}
	s.print("good", "%s: %s answers, token %d, and two stand by", how, old.id, old.token)
	at := s.signal(old.id, syscall.SIGKILL)
	s.print("bad", "%s killed with SIGKILL", old.id)
	t, err := s.answered(ctx, old.token)
	if err != nil {
		return 0, err
	}
	s.results = append(s.results, demoResult{how, t.first - at, why})
	s.print("good", "%s answers, token %d: %v after the kill; %s", t.id, t.token, short(t.first-at), why)
	err = s.endEach()
	s.print("", "everything stopped")
	return t.token, err
}

// answered asks the program until a term answers that is later than another one.
func (s *demoStage) answered(ctx context.Context, after uint64) (*demoTerm, error) {
	for {
		if t, err := s.ask(ctx); err == nil && t.token > after {
			return t, nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for an answer: %w", context.Cause(ctx))
		}
	}
}

// ask is one request.
func (s *demoStage) ask(ctx context.Context) (*demoTerm, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.service)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	t := new(demoTerm)
	_, err = fmt.Fscan(conn, &t.id, &t.token)
	t.first = coordinator.Clocks().Mono
	return t, err
}

// wrapped is the command line of a wrapper. Settings of who runs the demo do not change it.
func (s *demoStage) wrapped(wrapper, id, warm string) *exec.Cmd {
	cmd := exec.Command(wrapper,
		"run", "--backend", "raft", "--role", demoRole, "--id", id, "--ttl", s.ttl.String(), "--log-level", "error", warm,
		"--raft-dir", filepath.Join(s.dir, id), "--raft-peers", s.peerList(), "--",
		s.self, "demo-program", "--load", demoLoad.String(), "--listen", s.service,
	)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "UNDERSTUDY_") })
	return cmd
}
