package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/group"
)

// A command is one role's program, run once for every term.
type command struct {
	*commands
	role config.Role
	log  *slog.Logger

	mu      sync.Mutex                  // held while it starts, so that no signal falls between
	now     atomic.Pointer[group.Group] // nil: none runs
	guarded int                         // the group that the witness answers for
}

// signal passes a signal on to the command that runs.
func (c *command) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.now.Load(); g != nil {
		g.Signal(s)
	}
}

// work runs the command for one term. It returns when nothing of its process
// group is left.
func (c *command) work(ctx context.Context, t coordinator.Term) error {
	g, err := c.start(t)
	defer c.forget()
	if err != nil {
		c.log.Error("command did not start", "error", err)
		return c.over(127, err)
	}
	select {
	case <-g.Done():
		g.Kill() // what it left behind
		c.wait(g)
		return c.over(g.Code(), &endedError{g.Code()})
	case <-ctx.Done():
	}
	asked := coordinator.Asked(context.Cause(ctx))
	c.stop(g, t, asked)
	if !asked && c.role.OnLoss == "exit" {
		c.giveUp(errRoleLost)
	}
	return nil
}

func (c *command) start(t coordinator.Term) (*group.Group, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path, err := exec.LookPath(c.role.Command[0])
	if err != nil {
		return nil, err
	}
	g, err := group.Start(c.spec(path, t))
	c.now.Store(g)
	return g, err
}

// forget notes that nothing of the group is left.
func (c *command) forget() {
	if c.guarded != 0 {
		c.witness.Forget(c.guarded)
		c.guarded = 0
	}
	c.now.Store(nil)
}

// over says what the end of the command by itself means.
func (c *command) over(code int, why error) error {
	c.log.Info("command ended", "code", code)
	if c.role.OnExit == "restart" {
		return why
	}
	c.giveUp(&endedError{code})
	return nil
}

// stop ends the group: politely, and by force when the time is over.
func (c *command) stop(g *group.Group, t coordinator.Term, asked bool) {
	g.Terminate()
	ctx, cancel := context.WithTimeout(context.Background(), c.options.Coordinator.StopTimeout)
	defer cancel()
	go c.lose(ctx, cancel, t, asked)
	if g.WaitEmpty(ctx) == nil {
		return
	}
	c.log.Warn("command killed: it did not stop in time")
	g.Kill()
	c.wait(g)
}

// lose calls cancel when the command's time is over before the stop timeout: a
// second stop came, or the role is lost, be it only meanwhile. A loss leaves the
// grace, and never more than the promise; the coordinator exits with the promise
// itself, so this is a little before.
func (c *command) lose(ctx context.Context, cancel func(), t coordinator.Term, asked bool) {
	grace := c.options.Coordinator.Grace
	for wait := min(c.options.Coordinator.TTL/50, 50*time.Millisecond); asked && t.Left() > grace; {
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

func (c *command) spec(path string, t coordinator.Term) group.Spec {
	s := group.Spec{Path: path, Argv: c.role.Command, Env: c.options.environment(t), Stdout: os.Stdout, Stderr: os.Stderr}
	if c.options.Run.Stdin {
		s.Stdin = os.Stdin
	}
	s.Isolate = c.options.Run.Isolate
	if c.witness != nil {
		s.Gate = func(pgid int) error {
			c.guarded = pgid
			return c.witness.Guard(pgid)
		}
	}
	return s
}
