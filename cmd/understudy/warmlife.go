package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/procgroup"
)

// A life is one run of a warm command.
type life struct {
	group   *procgroup.Group
	wire    *wire
	began   time.Time
	guarded procgroup.ID  // the group that the witness answers for
	over    chan struct{} // closed when nothing of it is left
	ready   atomic.Bool   // it says so
	stop    sync.Once     // tells it to end
}

// ended reports whether the first process has.
func (l *life) ended() bool {
	select {
	case <-l.group.Done():
		return true
	default:
		return false
	}
}

// hear tells the command something, and wakes it: one that somebody has stopped would not stand down before it is killed,
// and would not work when its turn comes.
func (l *life) hear(line string) error {
	defer l.group.Signal(syscall.SIGCONT)
	return l.wire.say(line)
}

// end tells the command to end, by the socket and by SIGTERM.
func (l *life) end() {
	l.stop.Do(func() {
		_ = l.wire.say("stop") // a command that does not read it gets the signal, and is killed when the time is over
		l.group.Terminate()
	})
}

// run returns the run that there is, or begins one.
func (w *warm) run(ctx context.Context) (*life, error) {
	if l := w.last(); l != nil && !l.ended() {
		return l, nil
	} else if l != nil {
		select {
		case <-l.over:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return w.start(ctx)
}

// start begins a run.
func (w *warm) start(ctx context.Context) (*life, error) {
	l := &life{began: time.Now(), over: make(chan struct{})}
	ours, theirs, err := newWire()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	l.wire = ours
	env := append(w.options.childEnvironment(), "UNDERSTUDY_ROLE="+w.role.Name)
	if watchdog := w.options.Coordinator.Watchdog; watchdog > 0 {
		env = append(env, fmt.Sprint("WATCHDOG_USEC=", watchdog.Microseconds()))
	}
	s := w.spec(env, &l.guarded)
	s.Files, s.Deadline = []procgroup.File{{Variable: forSocket, File: theirs}, {Variable: forPage, File: w.page.file}}, w.deadline
	w.rest()
	if l.group, err = w.begin(ctx, s); err != nil {
		w.forgetLife(l)
		return nil, err
	}
	w.mu.Lock()
	w.life = l
	w.mu.Unlock()
	_ = l.wire.say("standby") // there is room
	go w.follow(l)
	go w.bury(l)
	return l, nil
}

// bury ends what the first process left behind, and notes when nothing is left.
func (w *warm) bury(l *life) {
	cold := time.AfterFunc(startFor, func() {
		if !l.ready.Load() {
			w.cold.Do(func() {
				w.log.Warn("the command has not sent READY=1 to its socket: with --warm it is in line behind all that are ready", "after", startFor)
			})
		}
	})
	<-l.group.Done()
	cold.Stop()
	select {
	case <-l.group.Gone():
	case <-time.After(w.options.Coordinator.StopTimeout):
		killAll(l.group, func(int) {})
	}
	w.now.Store(nil)
	w.forgetLife(l)
	close(l.over)
}

// forgetLife frees what a run had.
func (w *warm) forgetLife(l *life) {
	if l.guarded != 0 {
		w.witness.Forget(l.guarded)
	}
	l.wire.close()
}
