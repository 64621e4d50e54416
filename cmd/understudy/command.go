package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/cmd/understudy/group"
	"github.com/understudy-ha/understudy/coordinator"
)

// A command is the user's program, run once for every term.
type command struct {
	options *options
	path    string
	args    []string
	giveUp  context.CancelCauseFunc // stops the whole run

	mu  sync.Mutex   // held while the command starts, so that no signal falls between
	now *group.Group // nil: none runs

	stopTimeout time.Duration // for a stop that was asked for

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
		default:
			c.mu.Lock()
			if c.now != nil {
				c.now.Signal(sig)
			}
			c.mu.Unlock()
		}
	}
}

// exit kills the command and ends this process: the command outlived its time.
func (c *command) exit() {
	c.mu.Lock()
	if c.now != nil {
		c.now.Kill()
	}
	os.Exit(coordinator.ExitCode)
}

// work runs the command for one term. It returns when nothing of its process
// group is left.
func (c *command) work(ctx context.Context, t coordinator.Term) error {
	g, err := c.start(t)
	if err != nil {
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
	asked := errors.Is(context.Cause(ctx), coordinator.ErrStopping) || errors.Is(context.Cause(ctx), coordinator.ErrHandoff)
	c.stop(g, asked)
	if !asked && c.options.onLoss == "exit" {
		c.giveUp(errRoleLost)
	}
	return nil
}

func (c *command) start(t coordinator.Term) (*group.Group, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, err := group.Start(c.spec(t))
	c.now = g
	return g, err
}

func (c *command) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = nil
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

// stop ends the group: politely, and by force when the time is over. A loss leaves
// the grace, and never more than the promise; the coordinator exits with the
// promise itself, so this is a little before.
func (c *command) stop(g *group.Group, asked bool) {
	limit := c.stopTimeout
	if !asked {
		limit = c.options.config.Grace * 9 / 10
	}
	g.Terminate()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	go func() {
		select {
		case <-c.hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	if g.WaitEmpty(ctx) == nil {
		return
	}
	c.options.config.Logger.Warn("command killed: it did not stop in time", "role", c.options.role, "limit", limit)
	g.Kill()
	c.wait(g)
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
	return s
}
