package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/procgroup"
)

// A warm is a command that runs in standby, too, and is told by a socket when to work. Its runs follow
// each other; one goroutine at a time begins them, that of a standby or of a term.
type warm struct {
	*command
	deadline *procgroup.Deadline // of its group; it is never over while the command stands by
	page     *page
	pause    time.Duration // before it is started again in standby
	cold     sync.Once     // says that it is not ready

	mu    sync.Mutex          // nothing is waited for while it is held
	until coordinator.Instant // the end of the promise
	life  *life               // the last run; nil: there was none
	term  coordinator.Term    // whose work it does; no token: it stands by
	told  bool                // to stand down
	idle  chan struct{}       // closed when it has
}

// warmUp has the coordinator keep the warm commands running in standby.
func (c *commands) warmUp(config *coordinator.Config) (err error) {
	found := false
	for _, one := range c.byRole {
		if one.role.Warm == "off" {
			continue
		}
		found, one.warm = true, &warm{command: one}
		if one.warm.deadline, err = procgroup.NewDeadline(); err != nil {
			return err
		}
		if one.warm.page, err = newPage(); err != nil {
			return fmt.Errorf("the page for a warm command: %w", err)
		}
	}
	if !found {
		return nil
	}
	config.Standby = func(ctx context.Context, role string) error {
		if w := c.byRole[role].warm; w != nil {
			w.standBy(ctx)
		}
		return nil
	}
	config.Ready = func(role string) bool {
		w := c.byRole[role].warm
		return w == nil || w.ready()
	}
	return nil
}

// moveDeadline has commands end when the promise does.
func (c *commands) moveDeadline(at coordinator.Instant) {
	c.options.deadline.Set(at.Raw, at.Boot)
	for _, one := range c.byRole {
		if one.warm != nil {
			one.warm.move(at)
		}
	}
}

// end ends the warm commands, when this process has no role any more.
func (c *commands) end() {
	var all sync.WaitGroup
	for _, one := range c.byRole {
		if one.warm != nil {
			all.Go(one.warm.end)
		}
	}
	all.Wait()
}

func (w *warm) end() {
	l := w.last()
	if l == nil {
		return
	}
	l.end()
	select {
	case <-l.over:
		return
	case <-w.hurry:
	case <-time.After(w.options.Coordinator.StopTimeout):
	}
	w.killLate(l.group)
}

// standBy keeps the command running until a term begins. It starts one that ends by itself again,
// after a pause that grows: but not one that has ended because somebody stops the whole service.
func (w *warm) standBy(ctx context.Context) {
	const first, most = together, time.Minute
	for ctx.Err() == nil {
		l, err := w.run(ctx)
		if err == nil {
			select {
			case <-ctx.Done():
				return
			case <-l.group.Done():
			}
			if time.Since(l.began) > most {
				w.pause = 0
			}
			err = w.endedError(l.group.Code(), time.Now())
		}
		if ctx.Err() != nil {
			return
		}
		w.pause = min(max(2*w.pause, first), most)
		select {
		case <-w.stopped:
			return
		case <-ctx.Done():
		case <-time.After(w.pause):
		}
		w.log.Warn("the command ended in standby; it is started again", "error", err, "after", w.pause)
	}
}

// ready reports whether the command says that it could work now.
func (w *warm) ready() bool {
	l := w.last()
	return l != nil && !l.ended() && l.ready.Load()
}

// work has the command work for one term. It returns when the command has stood down, or nothing of it
// is left.
func (w *warm) work(ctx context.Context, t coordinator.Term) error {
	if l := w.last(); l != nil && l.ended() { // what is left of it delays the term
		l.group.Kill()
	}
	l, err := w.run(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return w.ended(ctx)
	case err != nil:
		return w.notStarted(err)
	}
	if err := w.activate(l, t); err != nil {
		killAll(l.group, func(int) {})
		w.rest()
		return fmt.Errorf("the command cannot be told to work, and was killed: %w", err)
	}
	go w.spare(ctx, l, t)
	active := w.hook("on-active", w.role.OnActive, onActiveFor, t, coordinator.CauseGranted, nil)
	byItself := false
	select {
	case <-l.group.Done():
		byItself = t.Left() > 0 && ctx.Err() == nil // otherwise its init killed it, or it was told to end
	case <-ctx.Done():
	}
	over := time.Now()
	w.stop(ctx, l.group, w.demote(ctx, l), t)
	w.rest()
	code := 0
	if l.ended() {
		code = l.group.Code()
		w.tell(ctx, code, byItself)
	}
	w.onStandby(ctx, t, whyOver(ctx, code, byItself), active, over)
	if byItself {
		ended := w.endedError(code, over)
		return w.over(ended, ended)
	}
	return w.ended(ctx)
}

// activate tells the command to work, which ends at the deadline from then on.
func (w *warm) activate(l *life, t coordinator.Term) error {
	w.mu.Lock()
	w.term, w.told, w.idle = t, false, nil
	until := w.until
	w.deadline.Set(until.Raw, until.Boot)
	w.page.set(t.Token, until)
	w.mu.Unlock()
	l.group.Signal(0) // its init has to see the deadline
	return l.hear(fmt.Sprintf("active token=%d deadline=%d.%09d", t.Token, until.Boot/time.Second, until.Boot%time.Second))
}

// demote tells the command to stand down, or to end where it cannot or this process ends. The channel is
// closed when it has.
func (w *warm) demote(ctx context.Context, l *life) <-chan struct{} {
	idle := make(chan struct{})
	w.mu.Lock()
	w.told = true
	w.page.set(0, coordinator.Instant{})
	if w.role.Warm != "restart" { // otherwise only its end counts
		w.idle = idle
	}
	w.mu.Unlock()
	if w.role.Warm == "restart" || errors.Is(context.Cause(ctx), coordinator.ErrStopping) {
		l.end()
	} else if err := l.hear("standby"); err != nil && !l.ended() {
		w.log.Warn("killing the command: it cannot be told to stand down", "error", err)
		l.group.Kill()
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-idle:
		case <-l.over:
		}
	}()
	return over
}

// rest notes that the command does not work any more.
func (w *warm) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.term, w.told, w.idle = coordinator.Term{}, false, nil
	w.page.set(0, coordinator.Instant{})
	w.deadline.Set(procgroup.Never, procgroup.Never)
}

// move moves the end of the promise.
func (w *warm) move(at coordinator.Instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.until = at; w.term.Token == 0 {
		return
	}
	w.deadline.Set(at.Raw, at.Boot)
	if !w.told {
		w.page.set(w.term.Token, at)
	}
}

func (w *warm) atWork() coordinator.Term {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.term
}

func (w *warm) last() *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life
}

// spare lets a command that is not ready take its time before --watchdog counts.
func (w *warm) spare(ctx context.Context, l *life, t coordinator.Term) {
	watchdog := w.options.Coordinator.Watchdog
	for watchdog > 0 && !l.ready.Load() && time.Since(l.began) < startFor {
		t.Progress()
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchdog / 4):
		}
	}
}

// checkWarm says why commands cannot be warm.
func (o *options) checkWarm() error {
	var errs []error
	for _, r := range o.Roles {
		switch {
		case r.Warm == "off" || !slices.Contains([]string{"idle", "restart"}, r.Warm):
		case runtime.GOOS != "linux":
			errs = append(errs, errors.New("warm: works on Linux only; leave it out"))
		case o.Run.Stdin:
			errs = append(errs, errors.New("stdin: a warm command would read it in standby; leave out one of the two"))
		case !r.ActiveStandby:
			errs = append(errs, fmt.Errorf("warm: role %q does not stand by; leave it out, or set activeStandby.enabled: true", r.Name))
		}
	}
	return errors.Join(errs...)
}
