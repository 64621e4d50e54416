package procgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// initName is what a process that Start started as an init finds as its own name. It is
// what a person sees in ps, and how the init knows.
const initName = "understudy-init"

// killSignal has an init kill all that is below it.
const killSignal = syscall.SIGUSR1

// A process that was started as the init of a Group is one from here on. It does not wait
// for main: Go initializes this package before nearly all that are not of its standard library,
// and what those of a whole program need is longer than all else that an init does until the
// command runs.
func init() {
	if len(os.Args) > 0 && os.Args[0] == initName {
		os.Exit(beInit(os.Args[1:]))
	}
}

// An order is one message between a process and the init of its Group.
type order struct {
	what   byte
	number int32
	text   string
	files  []int // that came with it
}

// What is said. The init begins when it is told to, and hears of its parent's end by the
// end of the socket.
const (
	begin = byte('b') // start the program, with the files that come with it and are named in the text
	pass  = byte('p') // pass a signal on to the first process
	ask   = byte('a') // ask all to end

	begun    = byte('B') // or not: why
	hasEnded = byte('E') // the first process, with a code
	isEmpty  = byte('X') // nothing is left, and the init ends, or waits to begin again
)

// What the files of begin are, if not what the variable of that name tells the program.
const (
	forStdin    = "<"
	forDeadline = "!" // a deadline's memory
)

// again is begin's number where the init is to run the program once more when it is told.
const again = 1

// send never blocks: who does not read will be killed, or is dead. Files go with it.
func (o order) send(wire int, files ...int) {
	text := append(binary.LittleEndian.AppendUint32([]byte{o.what}, uint32(o.number)), o.text...)
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	for errors.Is(unix.Sendmsg(wire, text, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT), unix.EINTR) {
	}
}

// hear waits for a message. !ok: there will be none, the other end is gone.
func hear(wire int) (o order, ok bool) {
	var text [256]byte
	rights := make([]byte, unix.CmsgSpace(8*4))
	for {
		n, r, _, _, err := unix.Recvmsg(wire, text[:], rights, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n < 5 {
			return order{}, false
		}
		o := order{what: text[0], number: int32(binary.LittleEndian.Uint32(text[1:5])), text: string(text[5:n])}
		if m, _ := unix.ParseSocketControlMessage(rights[:r]); len(m) == 1 {
			o.files, _ = unix.ParseUnixRights(&m[0]) // nothing else is sent
		}
		return o, true
	}
}

// A keeper is what an init knows.
type keeper struct {
	wire   int // its standard input, which no program inherits
	begins chan beginning
	guard  guard         // obey's, once the program has begun
	again  bool          // the program runs again when nothing is left; the first goroutine's
	doomed chan struct{} // closed when all is killed: nothing begins any more

	starting atomic.Bool // the program is, for as long as its file is read

	mu    sync.Mutex  // held while one that is being signalled must not be reaped, and while the program is started
	first int         // the first process, which the first goroutine alone sets; 0: it was reaped
	told  map[ID]bool // that were asked to end

	killing sync.Once
}

// A beginning is an order to start the program.
type beginning struct {
	stdin int
	files map[string]int // by the variable that tells the program its number
	again bool           // and to wait for another one when nothing is left
	err   error
}

// beInit runs a program, given by a title, its path and its arguments, and returns when nothing of
// it is left.
func beInit(args []string) int {
	if len(args) == 0 { // CanIsolate asks
		return 0
	}
	program := args[1:]    // the first is for people
	runtime.LockOSThread() // with this thread the first process dies
	k := &keeper{told: map[ID]bool{}, begins: make(chan beginning, 1), doomed: make(chan struct{})}
	k.catch()
	reaper := becomeReaper()
	go k.obey()
	for again := true; again; {
		again = false
		select {
		case b := <-k.begins:
			b.err = errors.Join(b.err, reaper)
			k.run(program, b)
			again = b.again
		case <-k.doomed:
			again = len(k.begins) > 0 // who waits is told why it is not started
		}
	}
	return 0
}

// run runs the program once, and returns when nothing of it is left.
func (k *keeper) run(program []string, b beginning) {
	k.again = b.again
	err := b.err
	if err == nil {
		err = k.start(program, b)
	}
	var why syscall.Errno
	if err != nil && !errors.As(err, &why) {
		why = syscall.EIO
	}
	order{what: begun, number: int32(why)}.send(k.wire)
	if err == nil {
		k.reap()
	}
	if !b.again || !k.isDoomed() { // a run that was killed has no code
		order{what: isEmpty}.send(k.wire)
	}
}

// catch sees to it that nothing that ends a process group, a terminal or a pipeline ends
// an init. What is caught, and not ignored, is the default for the program.
func (k *keeper) catch() {
	all := make(chan os.Signal, 1)
	for sig := syscall.Signal(1); sig < 32; sig++ {
		if !signal.Ignored(sig) && sig != killSignal {
			signal.Notify(all, sig)
		}
	}
	kill := make(chan os.Signal, 1)
	signal.Notify(kill, killSignal)
	go func() {
		<-kill
		k.kill()
	}()
}

// start starts the program, in a group of its own: not any more when the deadline is over
// or all is being killed.
func (k *keeper) start(program []string, b beginning) (err error) {
	env := os.Environ()
	path, err := k.find(program[0])
	defer unix.Close(b.stdin) // the program has its own
	for variable, fd := range b.files {
		defer unix.Close(fd)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return err
		}
		env = append(env, fmt.Sprint(variable, "=", fd))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.guard.over():
		return syscall.ETIME
	case k.isDoomed():
		return syscall.ECANCELED
	case err != nil:
		return err
	}
	k.starting.Store(true)
	defer k.starting.Store(false)
	k.first, err = syscall.ForkExec(path, program[1:], &syscall.ProcAttr{
		Env: env, Files: []uintptr{uintptr(b.stdin), 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	return err
}

// find looks a program up, and gives up when all is killed: its file system may never answer.
func (k *keeper) find(name string) (string, error) {
	type answer struct {
		path string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		path, err := exec.LookPath(name)
		answers <- answer{path, err}
	}()
	var found answer
	select {
	case found = <-answers:
	case <-k.doomed:
		return "", syscall.ECANCELED
	}
	var number syscall.Errno
	switch {
	case found.err == nil, errors.As(found.err, &number):
		return found.path, found.err
	case errors.Is(found.err, fs.ErrPermission):
		return "", syscall.EACCES
	}
	return "", syscall.ENOENT
}

// obey does what the parent orders, and kills all when that is gone or the deadline is
// over. It says nothing of it: whoever reads that may be stopped.
func (k *keeper) obey() {
	for {
		if k.guard.wait(k.wire) {
			k.kill()
			return
		}
		o, ok := hear(k.wire)
		switch {
		case !ok:
			k.kill()
			return
		case o.what == begin:
			k.begins <- k.prepare(o)
		case o.what == pass:
			k.mu.Lock()
			if k.first != 0 {
				_ = syscall.Kill(k.first, syscall.Signal(o.number))
			}
			k.mu.Unlock()
		case o.what == ask:
			k.ask()
		}
	}
}

// prepare takes what came with the order to begin.
func (k *keeper) prepare(o order) (b beginning) {
	b.again = o.number == again
	names := strings.Fields(o.text)
	if len(o.files) < len(names) { // there are too many descriptors
		b.err = syscall.EMFILE
		return b
	}
	b.files = map[string]int{}
	for i, name := range names {
		switch name {
		case forStdin:
			b.stdin = o.files[i]
		case forDeadline:
			k.guard, b.err = newGuard(o.files[i])
		default:
			b.files[name] = o.files[i]
		}
	}
	return b
}

// reap reaps whatever ends until nothing is left: an orphan of any descendant is this
// process's child, so that who has no child has no descendant. What the first process
// leaves is asked to end, and where the program is to run again it is killed.
func (k *keeper) reap() {
	for pause := 100 * time.Microsecond; ; {
		how, sweep := unix.WEXITED|unix.WNOWAIT|unix.WALL, k.again && k.first == 0
		if sweep {
			how |= unix.WNOHANG
		}
		if errors.Is(unix.Waitid(unix.P_ALL, 0, nil, how, nil), unix.ECHILD) {
			return
		}
		for k.reapOne() {
		}
		if sweep {
			k.killOnce()
			time.Sleep(pause)
			pause = min(2*pause, 20*time.Millisecond)
		}
	}
}

func (k *keeper) reapOne() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	var status syscall.WaitStatus
	pid, _ := syscall.Wait4(-1, &status, syscall.WNOHANG|unix.WALL, nil) // -1 with an error
	if pid <= 0 {
		return false
	}
	if pid == k.first {
		k.first = 0
		order{what: hasEnded, number: int32(codeOf(status))}.send(k.wire)
		if !k.again {
			go k.ask()
		}
	}
	return true
}

// reapOther reaps a dead child, unless it is the first process: until reapOne has noted its end its number, which that of its
// group is too, must be nobody else's.
func (k *keeper) reapOther(pid int) {
	if !k.mu.TryLock() {
		return
	}
	defer k.mu.Unlock()
	if pid != k.first {
		reapChild(pid)
	}
}
