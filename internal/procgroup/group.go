//go:build unix

package procgroup

import (
	"context"
	"math"
	"os"
	"syscall"
	"time"
)

// A Spec says what to run.
type Spec struct {
	Path   string   // of the program, which is looked for in PATH if there is no slash
	Argv   []string // with the program's name first
	Env    []string
	Title  string   // that a list of processes shows of the init, for people
	Stdin  *os.File // nil: /dev/null
	Stdout *os.File
	Stderr *os.File

	// Files are what the program inherits besides, each under a number that is free there. Only
	// Linux has that.
	Files []File

	// Isolate puts the program and all that it starts into a PID namespace that dies with
	// its first process, and that with this one. It takes Linux and the right to make a
	// namespace; CanIsolate asks.
	Isolate bool

	// Deadline, where there is one, is when the init kills the Group, whatever has become
	// of this process. Several Groups may have the same. A program does not start when it
	// is over. Only Linux has inits.
	Deadline *Deadline

	// Gate, where there is one, is called when the group exists and nothing of the program
	// has run. The program runs when Gate returns nil, and never otherwise. Elsewhere than
	// on Linux the program may run before.
	Gate func(ID) error
}

// Never, for both clocks of a Deadline, is a moment that does not come.
const Never = time.Duration(math.MaxInt64 / 2)

// A File is one that a program inherits. The program finds its number in an environment variable.
type File struct {
	Variable string
	*os.File
}

// A Group is one run of a command, with all that descends from it. Its methods may be
// called concurrently, and none blocks.
type Group struct {
	done chan struct{}
	gone chan struct{}
	code int

	means // what the platform has
}

// Start runs the command. Its init is this very program, started anew: see init. Several
// may run at once. On Linux this process becomes the reaper of whatever an init that is
// killed leaves behind: what it has started by other means, it names to Spare.
//
// Reading the program's file may take for ever, as on a network file system that does not answer. When ctx ends before it
// has begun, it is killed: Start returns an error, or a Group that is ending. Otherwise ctx ends nothing.
func Start(ctx context.Context, s Spec) (*Group, error) {
	if s.Stdin == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		s.Stdin = null
	}
	g := &Group{done: make(chan struct{}), gone: make(chan struct{})}
	if err := g.start(ctx, s); err != nil {
		return nil, &os.PathError{Op: "start", Path: s.Path, Err: err}
	}
	return g, nil
}

// Done is closed when the first process has ended. Whatever else is left is asked to end
// then, as by Terminate.
func (g *Group) Done() <-chan struct{} { return g.done }

// Gone is closed when nothing of the command is left. On Linux its init may still be ending then.
func (g *Group) Gone() <-chan struct{} { return g.gone }

// Code is the first process's exit code, or 128 and its signal. It is known when Done is
// closed.
func (g *Group) Code() int { return g.code }

// Signal sends a signal to the first process alone, if it has not ended. 0 is none, and only has
// its init look at the Deadline.
func (g *Group) Signal(sig syscall.Signal) { g.signal(sig) }

// Terminate sends SIGTERM, and SIGCONT so that what was stopped hears it: to the first
// process's group, and when the first process has ended to all that is left.
func (g *Group) Terminate() { g.terminate() }

// Kill ends all of the group. What is only just being forked may escape it: it is called
// again until Gone is closed.
func (g *Group) Kill() { g.kill() }

// codeOf is a shell's exit code for how a process ended.
func codeOf(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// unknownCode stands where nobody learned how the first process ended.
const unknownCode = 255
