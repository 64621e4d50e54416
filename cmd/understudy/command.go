package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/group"
	"github.com/understudy-ha/understudy/coordinator/witness"
)

// A command is the user's program, run once for every term.
type command struct {
	options *options
	path    string
	args    []string
	giveUp  context.CancelCauseFunc // stops the whole run

	mu  sync.Mutex                  // held while the command starts, so that no signal falls between
	now atomic.Pointer[group.Group] // nil: none runs

	stopTimeout time.Duration    // for a stop that was asked for
	witness     *witness.Witness // nil: none

	once  sync.Once
	hurry chan struct{} // closed by a second stop: kill at once

	ended bool // by itself, for good
	code  int
}

// listen passes signals on, and stops the run at the first SIGTERM or SIGINT.
func (c *command) listen(signals <-chan os.Signal) {
	stops := 0
	for s := range signals {
		switch sig := s.(syscall.Signal); sig {
		case syscall.SIGTERM, syscall.SIGINT:
			if stops++; stops > 1 {
				c.once.Do(func() { close(c.hurry) })
			}
			c.giveUp(fmt.Errorf("%v", sig))
		case syscall.SIGPIPE: // nobody reads the log any more: no reason to drop the role
		default:
			c.mu.Lock()
			if g := c.now.Load(); g != nil {
				g.Signal(sig)
			}
			c.mu.Unlock()
		}
	}
}

// exit kills the command and ends this process: the command outlived its time. It
// waits for nothing: a command that is only now being started dies with us.
func (c *command) exit() {
	if g := c.now.Load(); g != nil {
		g.Kill()
	}
	os.Exit(coordinator.ExitCode)
}

// work runs the command for one term. It returns when nothing of its process
// group is left.
func (c *command) work(ctx context.Context, t coordinator.Term) error {
	g, err := c.start(t)
	if err != nil {
		c.options.config.Logger.Error("command did not start", "role", c.options.role, "error", err)
		return c.over(127, err)
	}
	defer c.forget()
	select {
	case <-g.Done():
		g.Kill() // what it left behind
		c.wait(g)
		return c.over(g.Code(), fmt.Errorf("the command ended with code %d", g.Code()))
	case <-ctx.Done():
	}
	asked := coordinator.Asked(context.Cause(ctx))
	c.stop(g, t, asked)
	if !asked && c.options.onLoss == "exit" {
		c.giveUp(errRoleLost)
	}
	return nil
}

func (c *command) start(t coordinator.Term) (*group.Group, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, err := group.Start(c.spec(t))
	c.now.Store(g)
	return g, err
}

// forget notes that nothing of the group is left.
func (c *command) forget() {
	if c.witness != nil {
		_ = c.witness.Guard(0) // cannot fail
	}
	c.now.Store(nil)
}

// over says what the end of the command by itself means.
func (c *command) over(code int, why error) error {
	c.options.config.Logger.Info("command ended", "role", c.options.role, "code", code)
	if c.options.onExit == "restart" {
		return why
	}
	c.ended, c.code = true, code
	return nil
}

// stop ends the group: politely, and by force when the time is over.
func (c *command) stop(g *group.Group, t coordinator.Term, asked bool) {
	g.Terminate()
	ctx, cancel := context.WithTimeout(context.Background(), c.stopTimeout)
	defer cancel()
	go c.lose(ctx, cancel, t, asked)
	if g.WaitEmpty(ctx) == nil {
		return
	}
	c.options.config.Logger.Warn("command killed: it did not stop in time", "role", c.options.role)
	g.Kill()
	c.wait(g)
}

// lose calls cancel when the command's time is over before the stop timeout: a
// second stop came, or the role is lost, be it only meanwhile. A loss leaves the
// grace, and never more than the promise; the coordinator exits with the promise
// itself, so this is a little before.
func (c *command) lose(ctx context.Context, cancel func(), t coordinator.Term, asked bool) {
	grace := c.options.config.Grace
	for wait := min(c.options.config.TTL/50, 50*time.Millisecond); asked && t.Left() > grace; {
		select {
		case <-time.After(wait):
		case <-c.hurry:
			cancel()
			return
		case <-ctx.Done():
			return
		}
	}
	if left := t.Left(); left > 0 {
		grace = min(grace, left)
	}
	select {
	case <-time.After(grace - max(grace/10, min(50*time.Millisecond, grace/2))): // killing takes its time too
	case <-c.hurry:
	case <-ctx.Done():
	}
	cancel()
}

// wait waits until nothing of the group is left, and kills what it forks
// meanwhile.
func (c *command) wait(g *group.Group) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		err := g.WaitEmpty(ctx)
		cancel()
		if err == nil {
			return
		}
		g.Kill()
	}
}

func (c *command) spec(t coordinator.Term) group.Spec {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return name == "UNDERSTUDY_ROLE" || name == "UNDERSTUDY_ID" || name == "UNDERSTUDY_TOKEN"
	})
	env = append(env, "UNDERSTUDY_ROLE="+t.Role, "UNDERSTUDY_ID="+c.options.config.ID, fmt.Sprint("UNDERSTUDY_TOKEN=", t.Token))
	s := group.Spec{Path: c.path, Argv: c.args, Env: env, Stdout: os.Stdout, Stderr: os.Stderr}
	if c.options.stdin {
		s.Stdin = os.Stdin
	}
	s.Isolate = c.options.isolate
	if c.witness != nil {
		s.Gate = c.witness.Guard
	}
	return s
}
