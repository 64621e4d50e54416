package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/procgroup"
)

// A command is one role's program, run once for every term, or warm.
type command struct {
	*commands
	role config.Role
	log  *slog.Logger
	warm *warm // nil: it runs while it works

	mu       sync.Mutex // nothing is waited for while it is held
	starting bool
	missed   []syscall.Signal                // while it starts: it gets them then
	now      atomic.Pointer[procgroup.Group] // nil: none runs
	guarded  procgroup.ID                    // the group that the witness answers for
	notices  *notices                        // the command's messages; nil: nobody listens
}

// signal passes a signal on to the running command.
func (c *command) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.starting && !slices.Contains(c.missed, s) {
		c.missed = append(c.missed, s)
	} else if g := c.now.Load(); g != nil {
		g.Signal(s)
	}
}

// begin starts a group, and passes on the signals that came meanwhile. It gives up half the grace after ctx has ended, not at
// once: a standby that gets the role in its first milliseconds is often still starting its warm command, which is to work now,
// and a command that has only just begun is told to end, and not killed.
func (c *command) begin(ctx context.Context, s procgroup.Spec) (*procgroup.Group, error) {
	c.mu.Lock()
	c.starting = true
	c.mu.Unlock()
	patient, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(c.options.Coordinator.Grace/2, giveUp) })()
	g, err := procgroup.Start(patient, s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Store(g)
	for _, sig := range c.missed {
		if g != nil {
			g.Signal(sig)
		}
	}
	c.starting, c.missed = false, nil
	return g, err
}

// work runs the command for one term. It returns when no descendant of the command is left. The
// command has ended when its first process has.
func (c *command) work(ctx context.Context, t coordinator.Term) error {
	if c.warm != nil {
		return c.warm.work(ctx, t)
	}
	g, err := c.start(ctx, t)
	defer c.forget()
	switch {
	case err != nil && ctx.Err() != nil: // it was told to end before it had begun
		return c.ended(ctx)
	case err != nil:
		return c.notStarted(err)
	}
	active := c.hook("on-active", c.role.OnActive, onActiveFor, t, coordinator.CauseGranted, nil)
	byItself := false
	select {
	case <-g.Done():
		byItself = t.Left() > 0 && ctx.Err() == nil // otherwise its init killed it, or it was told to end
	case <-ctx.Done():
	}
	over := time.Now()
	g.Terminate()
	c.stop(ctx, g, g.Gone(), t) // also the processes that it left behind
	c.tell(ctx, g.Code(), byItself)
	c.onStandby(ctx, t, whyOver(ctx, g.Code(), byItself), active, over)
	if byItself {
		ended := c.endedError(g.Code(), over)
		return c.over(ended, ended)
	}
	return c.ended(ctx)
}

// notStarted says what it means that the command did not start.
func (c *command) notStarted(err error) error {
	err = fmt.Errorf("the command did not start: %w", err)
	if c.role.OnExit != "restart" { // otherwise the coordinator logs it
		c.log.Error(err.Error())
	}
	return c.over(c.endedError(127, time.Now()), err)
}

// ended says what it means that a term ended otherwise than by the command itself.
func (c *command) ended(ctx context.Context) error {
	if cause := context.Cause(ctx); !coordinator.Asked(cause) && c.role.OnLoss == "exit" {
		c.giveUp(fmt.Errorf("%w: %w", errRoleLost, cmp.Or(cause, coordinator.ErrDeadline)))
	}
	if ctx.Err() == nil { // nil would mean that the work is done for good
		return coordinator.ErrDeadline
	}
	return nil
}

// tell logs how the command ended. If roles are lost and their commands stop as told, the
// transition has said enough: an outage must not fill the log.
func (c *command) tell(work context.Context, code int, byItself bool) {
	level := slog.LevelInfo
	switch {
	case byItself && c.role.OnExit == "restart": // the coordinator logs it
		level = slog.LevelDebug
	case code != 0 && (byItself || code < 128): // a signal ends it when it was told to stop
		level = slog.LevelWarn
	case len(c.byRole) > 1 && !byItself && !coordinator.Asked(context.Cause(work)):
		level = slog.LevelDebug
	}
	c.log.Log(context.Background(), level, "command ended", "code", code)
}

func (c *command) start(ctx context.Context, t coordinator.Term) (_ *procgroup.Group, err error) {
	s := c.spec(c.options.environment(t), &c.guarded)
	if watchdog := c.options.Coordinator.Watchdog; watchdog > 0 {
		if c.notices, err = listenForNotices(watchdog, c.log); err != nil {
			return nil, err
		}
		s.Env = append(s.Env, c.notices.environment()...)
		go c.notices.follow(t)
	}
	return c.begin(ctx, s)
}

// forget notes that nothing of the group is left.
func (c *command) forget() {
	if c.guarded != 0 {
		c.witness.Forget(c.guarded)
		c.guarded = 0
	}
	c.now.Store(nil)
	if c.notices != nil {
		c.notices.close()
		c.notices = nil
	}
}

// over says what it means that the command ended by itself.
func (c *command) over(ended *endedError, why error) error {
	if c.role.OnExit == "restart" {
		return why
	}
	c.giveUp(ended)
	return nil
}

// stop waits until the work that a group was told to end is over, and kills the group when the time is.
func (c *command) stop(work context.Context, g *procgroup.Group, over <-chan struct{}, t coordinator.Term) {
	ctx, cancel := context.WithTimeout(context.Background(), c.options.Coordinator.StopTimeout)
	defer cancel()
	go c.lose(over, cancel, work, t)
	select {
	case <-over:
	case <-ctx.Done():
		c.killLate(g)
	}
}

// killLate kills a group whose time is over.
func (c *command) killLate(g *procgroup.Group) {
	level := slog.LevelWarn
	if !c.kills.Allow() { // the coordinator names every role whose work is late
		level = slog.LevelDebug
	}
	why := "it or a process that it started did not stop in time"
	select {
	case <-c.hurry:
		why = "a second stop was asked for"
	default:
	}
	c.log.Log(context.Background(), level, "killing the command: "+why)
	killAll(g, func(tries int) {
		if tries%(20*60) == 20 { // after a second, and then once a minute
			c.log.Error("the command cannot be killed: it runs as another user, is frozen, or sleeps in the kernel. End it yourself: until then this process keeps the role, unless it loses it")
		}
	})
}

// killAll kills a group until nothing of it is left. After each try it calls tried.
func killAll(g *procgroup.Group, tried func(tries int)) {
	for tries := 1; ; tries++ {
		g.Kill()
		tried(tries)
		select {
		case <-g.Gone():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lose calls cancel when the command's time is over before the stop timeout: a second stop came,
// or the role is lost, even if only meanwhile. After a loss the command has the grace, and never
// more than the promise, less the time that killing takes. If half of that time has passed, and
// some of the command is left, this process ends by itself, and not by its witness at the
// deadline.
func (c *command) lose(over <-chan struct{}, cancel func(), work context.Context, t coordinator.Term) {
	grace, hurry := c.options.Coordinator.Grace, c.hurry
	sleep := func(d time.Duration) (gone bool) {
		for rings := time.After(d); ; {
			select {
			case <-rings:
				return false
			case <-over:
				return true
			case <-hurry:
				cancel()
				hurry = nil
			}
		}
	}
	kept := func() bool {
		return t.Left() > grace && (work.Err() == nil || coordinator.Asked(context.Cause(work)))
	}
	for kept() {
		if sleep(min(c.options.Coordinator.TTL/50, 50*time.Millisecond)) {
			return
		}
	}
	left, killing := grace, c.killing()
	if until := t.Left(); until > 0 {
		left = min(left, until)
	}
	if killing = min(killing, left); sleep(left - killing) {
		return
	}
	cancel()
	if !sleep(killing/2) && t.Left() < grace { // otherwise only the role is lost, or the store is back
		c.exit()
	}
}

// killing is the part of the grace that is left for killing.
func (c *command) killing() time.Duration {
	grace := c.options.Coordinator.Grace
	return max(grace/4, min(100*time.Millisecond, grace/2))
}

// title says what an init is for.
func (c *command) title(hook string) string {
	text := "id=" + c.options.Coordinator.ID + " role=" + c.role.Name
	if hook != "" {
		text += " hook=" + hook
	}
	return text + ":"
}

// spec is that of the role's program. It notes in guarded which group the witness answers for.
func (c *command) spec(env []string, guarded *procgroup.ID) procgroup.Spec {
	s := procgroup.Spec{Title: c.title(""), Path: c.role.Command[0], Argv: c.role.Command, Env: env, Stdout: os.Stdout, Stderr: os.Stderr}
	if c.options.Run.Stdin {
		s.Stdin = os.Stdin
	}
	s.Isolate, s.Deadline = c.options.Run.Isolate, c.options.deadline
	if c.witness != nil {
		s.Gate = func(id procgroup.ID) error {
			*guarded = id
			return c.witness.Guard(id)
		}
	}
	return s
}
