package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/group"
	"github.com/understudy-ha/understudy/lock"
)

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG...]",
		Short: "Run a command only while this process is active",
		Long: `Stands by for the role, and runs the command while it is active. The command gets
UNDERSTUDY_ROLE, UNDERSTUDY_ID and UNDERSTUDY_TOKEN; it should pass the token to what
it writes to.

On a loss, a stop (SIGTERM, SIGINT) or a handoff the command's whole process group
gets SIGTERM, and SIGKILL when the time is over. The role is released only when
nothing of the group is left but zombies. A second SIGTERM or SIGINT kills at once.
SIGHUP, SIGUSR1 and SIGUSR2 are passed on to the command.

A command that ends by itself ends this process with its own exit code: 128 and the
signal where one ended it, 127 where it could not be started.
` + exitCodes,
		Example: `  export UNDERSTUDY_ROLE=billing UNDERSTUDY_RAFT_PEERS=a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003
  understudy run --id a --raft-dir /tmp/a -- ./billing --port 80
  understudy run --id b --raft-dir /tmp/b --ttl 2s --on-exit restart -- sh -c 'exec ./billing'`,
		Args: cobra.ArbitraryArgs,
	}
	set := cmd.Flags()
	o := newOptions(set)
	o.roleFlag()
	o.timeFlags()
	o.nodeFlags()
	o.logFlags()
	o.duration(&o.config.Heartbeat, "heartbeat", 0, "between two log lines that say who is active (default 10s)")
	set.StringVar(&o.config.Address, "address", "", "where clients reach the command; shown by status")
	set.IntVar(&o.priority, "priority", 0, "the greatest takes over first")
	set.StringToStringVar(&o.labels, "label", nil, "KEY=VALUE to show in status; may be repeated")
	set.BoolVar(&o.activeStandby, "active-standby", true, "stand by; false ends at once beside a living active")
	set.StringVar(&o.onLoss, "on-loss", "standby", "after a loss: standby, or exit with code 75")
	set.StringVar(&o.onExit, "on-exit", "exit", "when the command ends by itself: exit with its code, or restart")
	o.duration(&o.connect, "connect-timeout", 0, "for the store's first answer; then exit with code 69 (default: wait as long as it takes)")
	set.BoolVar(&o.stdin, "stdin", false, "pass standard input to the command (default /dev/null)")
	set.BoolVar(&o.witness, "witness", true, "start a process that ends the command and releases the role the moment this process is dead")
	set.BoolVar(&o.isolate, "isolate", false, "run the command in a PID namespace: nothing of it outlives this process, whatever is killed (Linux, as root)")
	o.durationOrOff(&o.config.HangTimeout, "hang-timeout", "for a process, or a health check, that hangs, before its witness kills it; 0: only at the end of its promise (default ttl/2)")
	set.StringVar(&o.health, "health", "", "a shell command that says by exit code 0 that this process may be active")
	o.duration(&o.config.HealthEvery, "health-interval", 0, "between two of them (default ttl/4)")
	o.collect()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		finished := o.finishNode(cmd.ErrOrStderr())
		path, err := o.checkCommand(args, cmd.ArgsLenAtDash())
		if o.isolate {
			if cannot := group.CanIsolate(); cannot != nil {
				err = errors.Join(err, fmt.Errorf("isolate: %w; run as root or with CAP_SYS_ADMIN, or leave it out", cannot))
			}
		}
		err = errors.Join(finished, err,
			oneOf("on-loss", o.onLoss, "standby", "exit"), oneOf("on-exit", o.onExit, "exit", "restart"))
		if err != nil {
			return err
		}
		if os.Getpid() == 1 && o.noWitness() == "" {
			// All others die with a container's first process, the witness too: so that is
			// one that does nothing but wait for them.
			return &codeError{code: group.Supervise()}
		}
		return run(cmd.Context(), o, path, args)
	}
	return cmd
}

// checkCommand finds the command before anything is opened. dash is how many
// arguments stand before "--"; negative: there is none.
func (o *options) checkCommand(args []string, dash int) (path string, err error) {
	switch {
	case len(args) == 0:
		err = errors.New("command: is missing; write it after --")
	case dash != 0:
		err = fmt.Errorf("command %q: does not stand after --; write -- and then the command", args[0])
	default:
		if path, err = exec.LookPath(args[0]); err != nil {
			err = fmt.Errorf("command %q: %w; write its path, or a name that is in PATH", args[0], errors.Unwrap(err))
		}
	}
	if o.stdin && isatty.IsTerminal(os.Stdin.Fd()) {
		err = errors.Join(err, errors.New("stdin: standard input is a terminal, which a background command cannot read; pipe something in"))
	}
	return path, err
}

var errRoleLost = errors.New("the role was lost")

func run(ctx context.Context, o *options, path string, args []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &command{options: o, path: path, args: args, giveUp: cancel, hurry: make(chan struct{})}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE)
	defer signal.Stop(signals)
	go c.listen(signals)

	store := &awaited{}
	if o.connect > 0 {
		store.timer = time.AfterFunc(o.connect, func() { cancel(errNoAnswer) })
	}
	var err error
	if store.Locker, err = backends.Open(ctx, o.open()); err != nil {
		return o.stopped(ctx, err)
	}
	o.config.Outlives = true
	c.beside()
	c.stopTimeout = o.config.StopTimeout
	o.config.StopTimeout += 5 * time.Second // to see the group gone after SIGKILL, before the process gives up
	o.config.Exit = c.exit
	err = coordinator.Run(ctx, store, o.config, c.work)
	err = errors.Join(err, store.Close())
	var held *lock.HeldError
	switch {
	case errors.As(err, &held) && o.config.Exclusive && held.Token != 0:
		return fmt.Errorf("%w; to stand by instead, set --active-standby=true", err)
	case err != nil:
		return err
	case errors.Is(context.Cause(ctx), errNoAnswer):
		return o.stopped(ctx, store.err)
	case errors.Is(context.Cause(ctx), errRoleLost):
		return &codeError{code: exitLost, err: errRoleLost}
	case c.ended && c.code != 0:
		return &codeError{code: c.code}
	}
	return nil
}

// stopped is what a failure means after which nothing was started: nothing, where
// a stop that was asked for is why.
func (o *options) stopped(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, lock.ErrPermanent) || ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), errNoAnswer):
		return &codeError{exitUnavailable, fmt.Errorf("the store did not answer within --connect-timeout %v:\n%w", o.connect, err)}
	}
	return nil
}

var errNoAnswer = errors.New("the store did not answer")

// An awaited Locker stops its timer at the first answer to a registration.
type awaited struct {
	lock.Locker
	timer *time.Timer // nil: as long as it takes
	err   error       // of the last registration that had no answer; coordinator.Run makes one at a time
}

// Register is the Locker's.
func (a *awaited) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	s, err := a.Locker.Register(ctx, c, p, bids...)
	answered := err == nil || errors.Is(err, lock.ErrHeld) || errors.Is(err, lock.ErrLost) || errors.Is(err, lock.ErrPermanent)
	if a.err == nil || ctx.Err() == nil { // that we gave up is no reason
		a.err = err
	}
	if answered && a.timer != nil {
		a.timer.Stop()
	}
	return s, err
}
