package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/pflag"
	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/internal/procgroup"
)

// commands are the user's programs, one for each role. Each runs and ends independently.
type commands struct {
	options  *options
	byRole   map[string]*command
	giveUp   context.CancelCauseFunc // stops the whole run
	witness  *witness.Witness        // nil: none
	terminal bool                    // this process was started from one

	stopped chan struct{} // closed by the first stop
	stopAt  time.Time     // when that was
	hurry   chan struct{} // closed by a second stop: kill at once
	kills   *rate.Limiter // limits the warnings that a command is killed: an outage must not fill the log
}

func newCommands(o *options, giveUp context.CancelCauseFunc) *commands {
	c := &commands{options: o, byRole: map[string]*command{}, giveUp: giveUp, stopped: make(chan struct{}), hurry: make(chan struct{})}
	c.terminal = atTerminal()
	c.kills = rate.NewLimiter(rate.Every(15*time.Second), 2)
	for _, r := range o.Roles {
		c.byRole[r.Name] = &command{commands: c, role: r, log: o.Coordinator.Logger.With("role", r.Name)}
	}
	return c
}

// work runs the role's command for one term.
func (c *commands) work(ctx context.Context, t coordinator.Term) error {
	return c.byRole[t.Role].work(ctx, t)
}

// listen passes signals on, and stops the run at the first SIGTERM or SIGINT.
func (c *commands) listen(heard <-chan os.Signal) {
	count, first := 0, os.Signal(nil)
	for s := range heard {
		switch {
		case count > 0 && s == first && time.Since(c.stopAt) < together: // sent to us and to our group, as timeout(1) does
		case stops(s) || c.hangsUp(s):
			switch count++; count {
			case 1:
				c.stopAt, first = time.Now(), s
				close(c.stopped)
			case 2:
				close(c.hurry)
			}
			c.giveUp(fmt.Errorf("%w: %v", coordinator.ErrStopping, s))
		case s == syscall.SIGPIPE:
		default:
			for _, one := range c.byRole {
				one.signal(s.(syscall.Signal))
			}
		}
	}
}

// hangsUp reports whether a signal says that the terminal of this process is gone, and no command is
// there to hear it: who closes a terminal does not mean to leave a standby behind that works later.
func (c *commands) hangsUp(s os.Signal) bool {
	if s != syscall.SIGHUP || !c.terminal {
		return false
	}
	for _, one := range c.byRole {
		if one.works() {
			return false
		}
	}
	return true
}

// works reports whether the command runs, or if it is warm, works.
func (c *command) works() bool {
	if c.warm != nil {
		return c.warm.atWork().Token != 0
	}
	return c.now.Load() != nil
}

// exit kills every command and ends this process: one outlived its time. It does not wait: a
// command that is just being started dies with us.
func (c *commands) exit() {
	for _, one := range c.byRole {
		if g := one.now.Load(); g != nil {
			g.Kill()
		}
	}
	os.Exit(coordinator.ExitCode)
}

// An endedError says that a run ends because its command ended.
type endedError struct {
	code    int
	at      time.Time
	role    string
	several bool // this process has other roles, too
}

func (c *command) endedError(code int, at time.Time) *endedError {
	return &endedError{code: code, at: at, role: c.role.Name, several: len(c.byRole) > 1}
}

func (e *endedError) Error() string {
	if e.several {
		return fmt.Sprintf("the command of role %s ended with code %d", e.role, e.code)
	}
	return fmt.Sprintf("the command ended with code %d", e.code)
}

// Is makes an exit with code 0 count as a stop, and the role's history say that its work is done: nobody has asked for it.
func (e *endedError) Is(target error) bool {
	return e.code == 0 && (target == coordinator.ErrStopping || target == history.Done(e.role))
}

// together is how far apart two signals may arrive and still count as one stop. Stopping a whole
// service signals all of its processes, some of them twice, and the command may end before the
// wrapper gets its own signal. The role is not kept meanwhile.
const together = 500 * time.Millisecond

// wasStopped reports whether a command ended because somebody stops the whole service: that is a
// stop, whatever the command's exit code.
func (c *commands) wasStopped(e *endedError) bool {
	limit := e.at.Add(together)
	select {
	case <-c.stopped:
	case <-time.After(time.Until(limit)):
	}
	select {
	case <-c.stopped: // also if both are ready
		return c.stopAt.Before(limit)
	default:
		return false
	}
}

// checkCommands takes the one role's command from the command line, and finds each program before
// anything is opened. dash is how many arguments come before "--"; negative: there is none.
func (o *options) checkCommands(args []string, dash int) error {
	var errs []error
	several := o.Given("roles")
	switch {
	case several && len(args) > 0:
		errs = append(errs, fmt.Errorf("command %q: each role in roles has its own; give one or the other", args[0]))
	case several:
	case len(args) == 0 && o.Unread: // the file may have roles
	case len(args) == 0:
		errs = append(errs, errors.New("command: missing; write it after --"))
	case dash != 0:
		errs = append(errs, fmt.Errorf("command %q: must come after --; write -- and then the command%s", args[0], o.orValue(args[0])))
	default:
		o.Roles[0].Command = args
	}
	for _, r := range o.Roles {
		if several && len(r.Command) == 0 && r.Name != "" {
			errs = append(errs, fmt.Errorf("command: role %q has none; write command: [PROGRAM, ARG]", r.Name))
		}
	}
	errs = append(errs, o.findCommands())
	switch {
	case o.Run.Stdin && several:
		errs = append(errs, errors.New("stdin: cannot be passed to several commands; leave it out"))
	case o.Run.Stdin && isatty.IsTerminal(os.Stdin.Fd()):
		errs = append(errs, errors.New("stdin: standard input is a terminal, which a background command cannot read; use a pipe"))
	}
	return errors.Join(errs...)
}

// orValue says of a word before "--" how it is the value of a flag that may stand alone, and so takes no next word; "": of none.
func (o *options) orValue(word string) (hint string) {
	o.Set.Visit(func(f *pflag.Flag) {
		values := []string{"true", "false"}
		if f.Name == "warm" {
			values = []string{"off", "idle", "restart"}
		}
		if f.NoOptDefVal != "" && slices.Contains(values, word) {
			hint += fmt.Sprintf("; if it is the value of --%s, write --%s=%s", f.Name, f.Name, word)
		}
	})
	return hint
}

// afterDashes adds to what is wrong that flags for understudy stand after "--", if it lacks one of them: there they are the command's.
func (o *options) afterDashes(args []string, wrong error) error {
	if wrong == nil {
		return nil
	}
	var late []string
	lacks := false
	for _, arg := range args {
		flag, _, _ := strings.Cut(arg, "=")
		name, dashed := strings.CutPrefix(flag, "--")
		if f := o.Set.Lookup(name); dashed && f != nil && !f.Changed && !slices.Contains(late, flag) {
			late = append(late, flag)
			lacks = lacks || strings.Contains("\n"+wrong.Error(), "\n"+name+": ")
		}
	}
	if !lacks {
		return wrong
	}
	return errors.Join(wrong, fmt.Errorf("%s: stand after --, so the command gets them; if they are for understudy, write them before --", strings.Join(late, ", ")))
}

// checkIsolation says why commands cannot be isolated.
func (o *options) checkIsolation() error {
	if !o.Run.Isolate {
		return nil
	}
	if err := procgroup.CanIsolate(); err != nil {
		return fmt.Errorf("isolate: %w; run as root or with CAP_SYS_ADMIN, or leave it out", err)
	}
	return nil
}

// checkWatchdog says why commands cannot be watched.
func (o *options) checkWatchdog() error {
	if o.Coordinator.Watchdog > 0 && runtime.GOOS != "linux" {
		return errors.New("watchdog: works on Linux only; leave it out")
	}
	return nil
}

// environment is what a term's command gets: ours, without the variables that another run set and
// without the store's secrets.
func (o *options) environment(t coordinator.Term) []string {
	return append(o.childEnvironment(), "UNDERSTUDY_ROLE="+t.Role, fmt.Sprint("UNDERSTUDY_TOKEN=", t.Token))
}

// childEnvironment is what a command gets that is not a term's.
func (o *options) childEnvironment() []string {
	own := []string{"UNDERSTUDY_ROLE", "UNDERSTUDY_ID", "UNDERSTUDY_TOKEN", "UNDERSTUDY_ROLES", "UNDERSTUDY_CAUSE", forSocket, forPage}
	for _, k := range config.Keys() {
		if k.Secret {
			own = append(own, k.Variable())
		}
	}
	return append(without(own), "UNDERSTUDY_ID="+o.Coordinator.ID)
}

// managerVariables are how a service manager is reached. They are for us, not for our children.
var managerVariables = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

// without is our environment without some variables, and without those of our service manager.
func without(names []string) []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.Contains(names, name) || slices.Contains(managerVariables, name)
	})
}
