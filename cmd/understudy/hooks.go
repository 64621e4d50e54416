package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/procgroup"
)

// How long a hook may take before it is killed.
const (
	onActiveFor  = 30 * time.Second
	onStandbyFor = 5 * time.Second
)

// A hook is one run of a user's shell command beside a role's. It is not part of the work:
// nothing waits for it but the release of the role, for a bounded time.
type hook struct {
	end  context.CancelCauseFunc // kills what is left of it
	gone chan struct{}           // closed when nothing is
}

var (
	errTermOver = errors.New("the term is over")
	errTimeOver = errors.New("the release of the role does not wait any longer")
)

// hook starts a hook, once the one before it (nil: none) is gone. An empty script is not a hook.
func (c *command) hook(name, script string, most time.Duration, t coordinator.Term, why coordinator.Cause, before *hook) *hook {
	ctx, end := context.WithCancelCause(context.Background())
	h := &hook{end, make(chan struct{})}
	if script == "" {
		close(h.gone)
		return h
	}
	go func() {
		defer close(h.gone)
		ctx, cancel := context.WithTimeoutCause(ctx, most, tooLong(most))
		defer cancel()
		if before != nil {
			select {
			case <-before.gone:
			case <-ctx.Done():
				c.log.Warn("a hook was not run: the one before it cannot be killed", "hook", name)
				return
			}
		}
		s := procgroup.Spec{
			Title: c.title(name), Path: "/bin/sh", Argv: []string{"sh", "-c", script}, Deadline: c.options.deadline,
			Env: append(c.options.environment(t), "UNDERSTUDY_CAUSE="+string(why)),
		}
		defer c.guard(&s)()
		c.runHook(ctx, name, s)
	}()
	return h
}

// guard has the witness answer for a hook, too, unless it might lack the room for commands then. Where it cannot, the hook runs
// all the same, because a hook is not work. Call forget once nothing of it is left.
func (c *command) guard(s *procgroup.Spec) (forget func()) {
	if c.witness == nil || len(c.byRole) > witness.MaxGroups/3 {
		return func() {}
	}
	var guarded procgroup.ID
	s.Gate = func(id procgroup.ID) error {
		guarded = id
		_ = c.witness.Guard(id)
		return nil
	}
	return func() {
		if guarded != 0 {
			c.witness.Forget(guarded)
		}
	}
}

// runHook runs a hook until nothing of it is left. It is killed when ctx ends.
func (c *command) runHook(ctx context.Context, name string, s procgroup.Spec) {
	log := c.log.With("hook", name)
	switch code, err := script(ctx, log, "the hook", s, (*procgroup.Group).Gone); {
	case ctx.Err() != nil && err != nil: // it was told
	case err != nil:
		log.Warn("the hook did not start", "error", err)
	case code != 0:
		log.Warn("the hook failed", "code", code)
	}
}

// script runs a shell command until over of its group is closed, and logs what it prints. What is left of it then is
// killed. So is all of it when ctx ends, whose cause is the error then.
func script(ctx context.Context, log *slog.Logger, what string, s procgroup.Spec, over func(*procgroup.Group) <-chan struct{}) (code int, err error) {
	out, in, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	go relayFrom(out, log, what+" says", nil)
	s.Stdout, s.Stderr = in, in
	g, err := procgroup.Start(ctx, s)
	_ = in.Close() // nothing of ours was written to it
	switch {
	case err == nil:
		select {
		case <-over(g):
			select {
			case <-g.Gone():
			default:
				go killAll(g, func(int) {})
			}
			return g.Code(), nil
		case <-ctx.Done():
		}
	case ctx.Err() == nil: // otherwise it was given up before it began
		return 0, err
	}
	log.Warn("killing "+what, "error", context.Cause(ctx))
	if g != nil {
		killAll(g, func(int) {})
	}
	return 0, context.Cause(ctx)
}

// onStandby runs the hook that comes after a term, and waits for it, as long as the promise
// stands and leaves time for killing. over is when the command ended or was told to.
func (c *command) onStandby(work context.Context, t coordinator.Term, why coordinator.Cause, active *hook, over time.Time) {
	active.end(errTermOver)
	if c.role.OnStandby == "" {
		return
	}
	left := func() time.Duration {
		select {
		case <-c.hurry:
			return 0
		default:
		}
		d := t.Left()
		if work.Err() != nil && !coordinator.Asked(context.Cause(work)) {
			d = min(d, c.options.Coordinator.Grace-time.Since(over))
		}
		return d - c.killing()
	}
	if left() <= 0 {
		c.log.Warn("a hook was not run: the role is lost, or a second stop was asked for", "hook", "on-standby")
		return
	}
	h := c.hook("on-standby", c.role.OnStandby, onStandbyFor, t, why, active)
	for begun := time.Now(); left() > 0 && time.Since(begun) < onStandbyFor; {
		select {
		case <-h.gone:
			return
		case <-time.After(min(c.options.Coordinator.TTL/50, 50*time.Millisecond)):
		}
	}
	if left() > 0 {
		h.end(tooLong(onStandbyFor))
	}
	h.end(errTimeOver)
	select {
	case <-h.gone:
	case <-time.After(c.killing() / 2): // it cannot be killed
	}
}

func tooLong(most time.Duration) error { return fmt.Errorf("it has not ended within %v", most) }

// whyOver is the word for why a term is over.
func whyOver(work context.Context, code int, byItself bool) coordinator.Cause {
	switch {
	case byItself && code != 0:
		return coordinator.CauseFailed
	case byItself:
		return coordinator.CauseReturned
	case work.Err() == nil:
		return coordinator.CauseDeadline
	}
	return coordinator.CauseOf(context.Cause(work))
}
