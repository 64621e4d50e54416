package procgroup

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// means are an init, which is what this process has its orders carried out by.
type means struct {
	id   ID
	wire int // this process's end of a socket to it

	mu     sync.Mutex
	closed bool // the init is reaped and the socket closed: both numbers may be another's by now
}

// start starts the init, has it pass the gate, and has it start the program.
func (g *Group) start(ctx context.Context, s Spec) error {
	return g.launch(s, func(started chan<- error) (empty bool) {
		err := g.begin(ctx, s)
		if err != nil {
			_ = syscall.Kill(g.id.pid(), syscall.SIGKILL) // nothing of the program has run
		}
		started <- err
		return g.follow() || err != nil
	})
}

// launch starts the init, and has live follow it until it ends. live says when it has
// started, and whether nothing but the init was left when that ended.
func (g *Group) launch(s Spec, live func(started chan<- error) (empty bool)) error {
	if os.Args[0] == initName {
		return errors.New("this process was started as an init, and starts none itself")
	}
	if err := becomeReaper(); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	g.wire = pair[0]
	started := make(chan error, 1)
	go g.run(s, pair[1], started, live)
	return <-started
}

// run is the whole life of an init.
func (g *Group) run(s Spec, theirs int, started chan<- error, live func(chan<- error) bool) {
	// The parent-death signal is bound to the thread that forked: it must live as long as
	// the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, forget, err := fork(s, theirs)
	_ = unix.Close(theirs) // the init has its own
	if err != nil {
		_ = unix.Close(g.wire)
		started <- err
		return
	}
	defer forget()
	g.id = idOf(pid)
	go g.keepAwake()
	empty := live(started)
	if byItself := g.reap(pid); !empty && !byItself { // the init was killed
		endStrays()
	}
	if !g.isGone() { // the init did not say so
		close(g.gone)
	}
}

func (g *Group) isGone() bool {
	select {
	case <-g.gone:
		return true
	default:
		return false
	}
}

// keepAwake wakes the init whenever somebody stops it, until it has ended: only the init hears
// that its program has ended, and only the init can end it. The program itself may stay stopped.
func (g *Group) keepAwake() {
	const stopped = 5 // CLD_STOPPED of <signal.h>
	for {
		var what unix.Siginfo
		err := unix.Waitid(unix.P_PID, g.id.pid(), &what, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || what.Code != stopped: // it has ended, and was reaped or is to be
			return
		default:
			_ = unix.Waitid(unix.P_PID, g.id.pid(), nil, unix.WSTOPPED|unix.WNOHANG, nil) // or it would be told again
			g.wake()
		}
	}
}

func (g *Group) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		_ = syscall.Kill(g.id.pid(), syscall.SIGCONT)
	}
}

// fork starts the init, which never counts as a stray.
func fork(s Spec, wire int) (pid int, forget func(), err error) {
	forking.RLock()
	defer forking.RUnlock()
	pid, err = syscall.ForkExec("/proc/self/exe", append([]string{initName, s.Title, s.Path}, s.Argv...), &syscall.ProcAttr{
		Env: s.Env, Files: []uintptr{uintptr(wire), s.Stdout.Fd(), s.Stderr.Fd()}, Sys: attributes(s),
	})
	if err != nil {
		return 0, nil, err
	}
	return pid, Spare(pid), nil
}

// attributes give the init a group of its own, so that it lives when the command's group
// is killed, in a session without a terminal: a terminal stops whoever reads it, or writes to it under `stty tostop`,
// and is not in its foreground, and a stopped command would keep its role for ever.
func attributes(s Spec) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if s.Isolate {
		a.Cloneflags, a.Pdeathsig = syscall.CLONE_NEWPID, syscall.SIGKILL
	}
	return a
}

// begin passes the gate, has the init start the program, and returns why that failed. Its
// standard input goes there by the socket, which stands in its place, and so do the deadline and
// the files: any other number may be that of a descriptor which the program is to inherit.
func (g *Group) begin(ctx context.Context, s Spec) error {
	if s.Gate != nil {
		if err := s.Gate(g.id); err != nil {
			return err
		}
	}
	files, names := []int{int(s.Stdin.Fd())}, []string{forStdin}
	for _, f := range s.Files {
		files, names = append(files, int(f.Fd())), append(names, f.Variable)
	}
	if s.Deadline != nil {
		files, names = append(files, int(s.Deadline.memory.Fd())), append(names, forDeadline)
	}
	order{what: begin, text: strings.Join(names, " ")}.send(g.wire, files...)
	defer g.killWhen(ctx)()
	if r, ok := hear(g.wire); !ok || r.what != begun {
		return errNoInit
	} else if r.number != 0 {
		return syscall.Errno(r.number)
	}
	return nil
}

// killWhen kills the group when ctx ends, until stop is called: an init that has just begun hears no signal yet.
func (g *Group) killWhen(ctx context.Context) (stop func()) {
	over := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
		case <-over:
			return
		}
		select {
		case <-over: // it had begun before
			return
		default:
		}
		for {
			g.kill()
			select {
			case <-over:
				g.kill() // it has begun meanwhile, and hears
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() { close(over) }
}

var errNoInit = errors.New("its init ended before it began: somebody killed it, or this machine allows no more threads")

// follow notes what the init reports, until it ends. empty: it was the last.
func (g *Group) follow() (empty bool) {
	g.code = 128 + int(syscall.SIGKILL) // the first process dies with its init
	ended := false
	for {
		switch r, ok := hear(g.wire); {
		case ok && r.what == hasEnded:
			g.code, ended = int(r.number), true
			close(g.done)
		case ok && r.what == isEmpty: // the init only has to end itself, and does nothing for the program any more
			empty = true
			close(g.gone)
		case !ok && !ended:
			close(g.done)
			return empty
		case !ok:
			return empty
		}
	}
}

// reap waits for the init, and lets its number go. byItself: it ended because nothing was
// left.
func (g *Group) reap(pid int) (byItself bool) {
	awaitEnd(pid)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	_ = unix.Close(g.wire)
	var status syscall.WaitStatus
	_, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	return err == nil && status.Exited() && status.ExitStatus() == 0
}

// awaitEnd waits until a child has ended, and leaves it to be reaped: until then
// its number is nobody else's.
func awaitEnd(pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}

func (g *Group) signal(sig syscall.Signal) { g.tell(order{what: pass, number: int32(sig)}) }
func (g *Group) terminate()                { g.tell(order{what: ask}) }

// tell sends the init an order, and wakes it.
func (g *Group) tell(o order, files ...int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		o.send(g.wire, files...)
		_ = syscall.Kill(g.id.pid(), syscall.SIGCONT)
	}
}

func (g *Group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		_ = syscall.Kill(g.id.pid(), killSignal)
		_ = syscall.Kill(g.id.pid(), syscall.SIGCONT)
	}
}

// becomeReaper makes orphans below this process its own children.
func becomeReaper() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// forking is held for reading while an init is started and not yet spared, and for writing
// while strays are killed.
var forking sync.RWMutex

// spared are the children of this process that are not a command's orphans.
var spared sync.Map

// Spare says that this process has started a child by other means than a Group. The
// child counts as no orphan until forget is called, when it was waited for.
func Spare(pid int) (forget func()) {
	spared.Store(pid, true)
	return func() { spared.Delete(pid) }
}

// endStrays kills and reaps what inits that were killed have left to this process, until
// nothing of it is left but zombies.
func endStrays() {
	self := os.Getpid()
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		if killStrays(tree{root: self, spare: isSpared, reap: reapChild}) {
			return
		}
		time.Sleep(wait)
	}
}

// killStrays kills once, and reports whether nothing is left.
func killStrays(t tree) bool {
	forking.Lock()
	defer forking.Unlock()
	if t.signal(syscall.SIGKILL); !t.dead() {
		return false
	}
	t.signal(syscall.SIGKILL) // which reaps the dead
	return true
}

func isSpared(pid int) bool {
	_, is := spared.Load(pid)
	return is
}
