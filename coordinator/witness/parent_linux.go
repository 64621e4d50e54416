package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

// A Witness is the parent's side. It is the coordinator.Config.Witness of one Run.
type Witness struct {
	store any
	path  string
	title string // shown by ps
	log   *slog.Logger

	page   *page
	memory *os.File // holds the page
	orders *os.File // the witness's orders, in memory too
	self   *os.File // this process's pidfd
	wake   *os.File // an eventfd that makes the witness look

	told  time.Time // when something was said of the witness; keep's
	quiet bool      // the last such thing was not; keep's

	stranger atomic.Pointer[error] // what was started is no witness

	mu     sync.Mutex
	child  *exec.Cmd
	forget func() // removes it from the known children
	closed bool
	quit   chan struct{}
	ended  chan struct{} // closed when no more witnesses are started
}

// New returns a witness that is this program, started again: its main function calls Main before
// anything else. store says how to reach the store; it goes to Main's Open as JSON, in memory
// that only the two share, so that no list of processes shows it.
func New(store any) *Witness { return By(self, store) }

const self = "/proc/self/exe"

// By returns a witness that is another program, such as the understudy command, which takes a
// backends.Config for store.
func By(path string, store any) *Witness {
	return &Witness{store: store, path: path, quit: make(chan struct{}), ended: make(chan struct{})}
}

// Exit codes of what was started as a witness, beside those of Go's runtime.
const (
	crashed     = 2  // the runtime's, also where the machine has no thread left for it
	cannotStart = 71 // Main's
	noMain      = 78 // of a program that came to Start
)

// Start starts the witness and returns when it stands by, within ten seconds. When it
// ends, another is started. That none stands by counts as this machine's fault, which a later start may not meet.
// In a program that was started as a witness and has not called Main, Start ends the process: its parent then says so.
func (w *Witness) Start(c coordinator.Config) (err error) {
	if w.log != nil {
		return errors.New("this Witness has served a Run already: give each Run one of its own")
	}
	if os.Args[0] == name { // its main has not called Main, or has called this first
		os.Exit(noMain)
	}
	w.log = c.Logger
	w.title = title(c)
	orders, err := w.order(c)
	if err != nil {
		return err
	}
	if err := w.prepare(orders); err != nil {
		return errors.Join(err, w.free())
	}
	if err := w.spawn(); err != nil {
		return errors.Join(err, w.free())
	}
	go w.keep()
	stands := w.until(starting, func() bool { return w.page.ready.Load() || w.stranger.Load() != nil })
	if err := w.stranger.Load(); err != nil {
		w.Close()
		return *err
	}
	if !stands {
		w.Close()
		return fmt.Errorf("no witness stands by within %v: this machine is too busy, or allows no more processes or threads (%w); or the main of %s does not call witness.Main first",
			starting, syscall.EAGAIN, w.path)
	}
	return nil
}

// spawn starts a child. It needs nothing more of this process, which may be stopped.
func (w *Witness) spawn() error {
	child := &exec.Cmd{
		Path: w.path, Args: []string{name, w.title}, Stderr: os.Stderr,
		ExtraFiles:  []*os.File{w.memory, w.self, w.wake, w.orders},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	w.page.ready.Store(false)
	w.page.looks.Store(0)
	for i := range w.page.guarded {
		w.page.guarded[i].Store(0)
	}
	if err := child.Start(); err != nil {
		return fmt.Errorf("start %s: %w", w.path, err)
	}
	w.mu.Lock()
	w.child, w.forget = child, procgroup.Spare(child.Process.Pid)
	if w.closed {
		_ = child.Process.Kill()
	}
	w.mu.Unlock()
	return nil
}

// keep starts another witness whenever one ends, until Close: at once, except after one that
// ended soon.
func (w *Witness) keep() {
	defer close(w.ended)
	again, stood := false, false
	pause := time.Duration(0)
	for {
		began := time.Now()
		err := w.wait(again)
		again = true
		if stood = stood || w.page.ready.Load(); !stood && w.isStranger() {
			return
		}
		select {
		case <-w.quit:
			return
		default:
		}
		pause = pauseAfter(pause, time.Since(began))
		w.tell(slog.LevelWarn, "the witness ended, another is started; until it stands by a crash or a hang costs the ttl", "how", fmt.Sprint(err))
		for {
			select {
			case <-w.quit:
				return
			case <-time.After(pause):
			}
			if err = w.spawn(); err == nil {
				break
			}
			w.tell(slog.LevelError, "no witness can be started", "error", err)
			pause = time.Second
		}
	}
}

// isStranger reports whether a child that has ended was no witness: of its own accord Main ends so only when it stands by.
func (w *Witness) isStranger() bool {
	code := w.child.ProcessState.ExitCode()
	if code < 0 || code == crashed || code == cannotStart {
		return false
	}
	program := w.path
	if program == self {
		program = "this program"
	}
	err := fmt.Errorf("%s was started as a witness, and ended with code %d instead of being one: its main must call witness.Main first, before it reads flags or opens anything", program, code)
	w.stranger.Store(&err)
	return true
}

// tell logs what is wrong with the witness, often enough to be seen and no more: the rest is for who debugs.
func (w *Witness) tell(level slog.Level, text string, args ...any) {
	if w.quiet = !w.told.IsZero() && time.Since(w.told) < seldom; w.quiet {
		level = slog.LevelDebug
	} else {
		w.told = time.Now()
	}
	w.log.Log(context.Background(), level, text, args...)
}

// pauseAfter is the pause before another witness is started, given the last pause and how long
// the last witness lived.
func pauseAfter(last, lived time.Duration) time.Duration {
	if lived > time.Second {
		return 0
	}
	return min(2*last+10*time.Millisecond, time.Second)
}

// wait waits until the child ends, and logs when it stands by, if that is news. One that was stopped, or hangs, is ended.
func (w *Witness) wait(news bool) error {
	ended := make(chan error, 1)
	go func() {
		err := w.child.Wait()
		w.forget()
		ended <- err
	}()
	for began := time.Now(); news && !w.page.ready.Load(); {
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Millisecond):
		}
		if time.Since(began) > starting {
			w.kill()
			return fmt.Errorf("it did not stand by within %v: %w", starting, <-ended)
		}
	}
	if news {
		say := w.log.Info
		if w.quiet {
			say = w.log.Debug
		}
		say("a witness stands by again")
	}
	for {
		select {
		case err := <-ended:
			return err
		case <-time.After(asking):
		}
		if looks := w.looks(); !looks && !w.looks() { // the machine may be busy
			w.kill()
			return fmt.Errorf("it was stopped, or hung: %w", <-ended)
		}
	}
}

// looks reports whether the witness looks when it is made to.
func (w *Witness) looks() bool {
	before := w.page.looks.Load()
	w.look()
	return w.until(guarding, func() bool {
		select {
		case <-w.quit: // Close does not wait for this
			return true
		default:
			return w.page.looks.Load() != before || before == 0
		}
	})
}

// Guard makes the witness answer for one more group: it kills all of the group before it ends the
// session. There are at most MaxGroups at once. Guard returns when the witness has acknowledged
// that; a stopped witness does not, and is replaced. It may be called concurrently. The caller
// calls Forget when nothing of the group is left, even if Guard failed.
func (w *Witness) Guard(id procgroup.ID) error {
	i := w.place(id)
	if i < 0 {
		return fmt.Errorf("a witness answers for at most %d groups", MaxGroups)
	}
	for range 3 {
		w.look()
		if w.until(guarding, func() (ok bool) {
			w.use(func(p *page) { ok = p.guarded[i].Load() == uint64(id) })
			return ok
		}) {
			return nil
		}
		w.kill()
	}
	return errors.New("no witness answers for the command")
}

// place stores a group in a free place and returns which; negative: there is none.
func (w *Witness) place(id procgroup.ID) (at int) {
	at = -1
	w.use(func(p *page) {
		for i := range p.groups {
			if p.groups[i].CompareAndSwap(0, uint64(id)) {
				at = i
				return
			}
		}
	})
	return at
}

// Forget makes the witness stop answering for a group. After Close it does nothing: a group that does not
// work may outlive Run.
func (w *Witness) Forget(id procgroup.ID) {
	w.use(func(p *page) {
		for i := range p.groups {
			p.groups[i].CompareAndSwap(uint64(id), 0)
		}
	})
}

// use calls f with the page, unless Close may have freed it.
func (w *Witness) use(f func(*page)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		f(w.page)
	}
}

// until waits for ok, and reports whether it came.
func (w *Witness) until(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// look makes the witness look at the page. A full counter means that it will.
func (w *Witness) look() { _, _ = w.wake.Write([]byte{0: 1, 7: 0}) }

// Session is coordinator.Witness's.
func (w *Witness) Session(id lock.SessionID) {
	var s nonce
	s.n = uint8(copy(s.text[:], id))
	w.page.session.store(s)
}

// Deadline is coordinator.Witness's.
func (w *Witness) Deadline(at coordinator.Instant) {
	w.page.deadline.store(instant{at.Raw, at.Boot})
}

// Working is coordinator.Witness's.
func (w *Witness) Working(change int) {
	if w.page.works.Add(int32(change)); change > 0 {
		w.look()
	}
}

// Pulse is coordinator.Witness's.
func (w *Witness) Pulse() { w.page.pulse.Store(int64(coordinator.Clocks().Mono)) }

// PID returns the witness's process ID, for people.
func (w *Witness) PID() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.child.Process.Pid
}

func (w *Witness) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.child != nil {
		_ = w.child.Process.Kill()
	}
}

// Close ends the witness, waits until it is gone, and frees what was shared.
func (w *Witness) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.quit)
	w.kill()
	<-w.ended
	_ = w.free()
}

func (w *Witness) free() error {
	if w.page != nil {
		w.page.unmap()
	}
	for _, f := range []*os.File{w.memory, w.orders, w.self, w.wake} {
		if f != nil {
			_ = f.Close() // nothing was written that could be lost
		}
	}
	return nil
}
