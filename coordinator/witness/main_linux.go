package witness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

// Main returns at once, unless this process was started as a witness: then it is one, and never
// returns. Call it first in main, before flags are read and before anything is opened.
func Main(open Open) {
	if os.Args[0] != name {
		return
	}
	runtime.GOMAXPROCS(1) // it does little, and each more costs memory, and threads that look for something to do
	// These end a process group, a terminal, a pipeline or a service that missed its watchdog, but
	// must not end a witness.
	signal.Ignore(syscall.SIGTERM, syscall.SIGABRT, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP)
	c, err := newChild()
	if err != nil {
		log := asynclog.Logger(slog.New(slog.NewTextHandler(os.Stderr, nil)))
		log.Error("witness: cannot start", "error", err)
		asynclog.Flush(log, asynclog.ExitFlush)
		os.Exit(cannotStart)
	}
	slog.SetDefault(c.log) // a store's client must not block on its log either
	ctx, cancel := context.WithCancel(context.Background())
	go c.reach(ctx, open)
	c.watch()
	if c.killed == "" && c.outlived(coordinator.Clocks()) {
		c.log.Warn("the process is dead, and its promise was over while its work ran: it ends itself then, with code 75")
	}
	c.end(c.page.session.load().id())
	cancel()
	asynclog.Flush(c.log, asynclog.ExitFlush)
	os.Exit(0)
}

// A child is the witness's side.
type child struct {
	orders
	log    *slog.Logger // never blocks
	page   *page
	parent int // its pidfd
	wake   int
	timer  int // of CLOCK_BOOTTIME, which goes on while the machine sleeps

	locker lock.Locker
	opened chan struct{} // closed when locker is set

	held [MaxGroups]procgroup.Handle // the group at each place of the page, as last seen
	soon time.Duration               // when to look again for what a new group's init starts; 0: with the next look

	killed string        // why the process was killed, once that is logged; "": it was not
	pulse  time.Duration // the last one seen
	silent time.Duration // since then, without what the witness slept
	looked coordinator.Instant
}

func newChild() (*child, error) {
	c := &child{parent: 4, wake: 5, opened: make(chan struct{})}
	text, err := io.ReadAll(io.NewSectionReader(os.NewFile(6, "orders"), 0, math.MaxInt64)) // each witness reads them from the start
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &c.orders); err != nil {
		return nil, err
	}
	if c.timer, err = unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	if c.page, err = share(3); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	c.log = slog.New(asynclog.New(asynclog.Lines(os.Stderr, c.JSON, c.Level, nil))).With("witness_of", c.ID)
	return c, nil
}

// watch waits until the process is dead, and kills it when it must be.
func (c *child) watch() {
	c.looked = coordinator.Clocks()
	c.hold()
	c.page.ready.Store(true)
	for !c.poll(0) {
		c.page.looks.Add(1)
		why := c.due()
		if why != "" { // this process may have been stopped since it looked: what was said meanwhile counts
			why = c.due()
		}
		if why != "" {
			if alive := c.kill(); alive && c.killed == "" {
				c.log.Warn("process killed", "why", why)
				c.killed = why
			}
		}
		c.hold()
		if c.poll(-1) {
			return
		}
	}
}

// hold takes hold of the groups that are in the page, and acknowledges them.
func (c *child) hold() {
	for i := range c.page.groups {
		id := c.page.groups[i].Load()
		if c.held[i].ID() != procgroup.ID(id) {
			c.held[i].Close()
			c.held[i] = procgroup.Find(procgroup.ID(id))
			c.soon = first
		}
		if c.page.guarded[i].Load() != id {
			c.page.guarded[i].Store(id)
		}
	}
	whole := true
	for i := range c.held {
		whole = c.held[i].Look() && whole
	}
	if whole || c.soon > last {
		c.soon = 0
	}
}

// How soon a witness looks for what an init starts, after each look twice as long: an init starts its program within
// milliseconds.
const first, last = 5 * time.Millisecond, time.Second

// poll waits until the process is dead, which it reports, or the timer rings, or the process
// wakes the witness. With a timeout of 0 it only looks.
func (c *child) poll(timeout int) (dead bool) {
	if timeout != 0 {
		c.arm()
	}
	fds := []unix.PollFd{
		{Fd: int32(c.parent), Events: unix.POLLIN}, {Fd: int32(c.wake), Events: unix.POLLIN}, {Fd: int32(c.timer), Events: unix.POLLIN},
	}
	if _, err := unix.Poll(fds, timeout); err != nil {
		return false // a signal came
	}
	var count [8]byte
	for _, f := range fds[1:] {
		if f.Revents&unix.POLLIN != 0 {
			_, _ = unix.Read(int(f.Fd), count[:])
		}
	}
	return fds[0].Revents&unix.POLLIN != 0
}

// due says why the process must be killed now, or "".
func (c *child) due() string {
	now := coordinator.Clocks()
	slept := now.Mono - c.looked.Mono
	c.looked = now
	switch pulse := time.Duration(c.page.pulse.Load()); {
	case pulse != c.pulse:
		c.pulse, c.silent = pulse, min(now.Mono-pulse, c.tick())
	default:
		c.silent += min(slept, c.tick())
	}
	switch {
	case c.Spare:
	case c.outlived(now):
		return "its work runs and its promise is over"
	case c.HangTimeout > 0 && c.silent >= c.HangTimeout && c.page.session.load().n > 0:
		return fmt.Sprintf("it hangs: it was stopped or made no step, or its health check did not return, for %v", c.HangTimeout)
	}
	return ""
}

// outlived reports whether work runs whose promise is over.
func (c *child) outlived(now coordinator.Instant) bool {
	return c.page.works.Load() > 0 && c.page.deadline.load().left(now) <= 0
}

// tick is how often a pulse is looked for, which is as often as the process gives one. Each look
// wakes a process that sleeps otherwise, so it is most of what a witness costs. No more than that
// counts as silence at one look: this process may have slept, and the other one with it.
func (c *child) tick() time.Duration { return c.HangTimeout / 5 }

// arm sets the timer for the next look. The timer's clock may be slewed by no more than a tenth:
// so it is set for nine tenths of what is left.
func (c *child) arm() {
	wait := c.page.deadline.load().left(coordinator.Clocks())
	if c.page.works.Load() == 0 { // the process says when a work starts
		wait = time.Hour
	}
	wait = max(wait*9/10, time.Millisecond)
	if c.HangTimeout > 0 && !c.Spare {
		wait = min(wait, c.tick())
		if left := c.HangTimeout - c.silent; left > 0 {
			wait = min(wait, left)
		}
	}
	if c.soon > 0 {
		wait = min(wait, c.soon)
		c.soon *= 2
	}
	_ = unix.TimerfdSettime(c.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}, nil)
}

// kill kills the process, and its groups at once: they may be all that works. Processes that a
// killed init left to the process go first. It reports whether the process was still alive: one that was
// stopped and is woken may end by itself in this moment.
func (c *child) kill() (alive bool) {
	alive = !c.poll(0)
	procgroup.KillBelow(c.parent, c.held[:]...)
	_ = unix.PidfdSendSignal(c.parent, unix.SIGKILL, nil, 0)
	procgroup.Kill(c.held[:]...)
	return alive
}
