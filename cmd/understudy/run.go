package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

// runText is what run does, for its help.
const runText = `Stands by for the role, and runs the command while it is active. The command gets
UNDERSTUDY_ROLE, UNDERSTUDY_ID and UNDERSTUDY_TOKEN; it should pass the token to what
it writes to.

On a loss, a stop (SIGTERM, SIGINT) or a handoff the command's whole process group
gets SIGTERM, and SIGKILL when the time is over: --stop-timeout, or after a loss three
quarters of --grace. If something cannot be killed, this process exits with 75. A second
SIGTERM or SIGINT kills at once, but the same signal again within half a second counts as one
stop, sent twice. SIGHUP, SIGUSR1 and SIGUSR2 are passed on to the command. Where none runs, SIGHUP
ends a process that was started from a terminal, and does nothing elsewhere; nohup(1) keeps it.

The command has ended when its first process has. All its descendants belong to it, even
daemons: those left then get SIGTERM and SIGKILL in the same way, and the role is released
only when none is left. So the command must stay in the foreground. On systems other than
Linux this holds for its process group only.

Any one of this process, the witness, the command and its init may be killed or stopped at
any moment, and this process together with the witness. Not covered without --isolate: what has left
the command's process group, as daemons do, if this process and the command's init are killed together,
or both while this process is stopped; before Linux 6.9, all but the command's first process.

--on-active and --on-standby are shell commands for an address, DNS or an alert. They get the
command's environment, and the cause in UNDERSTUDY_CAUSE, in the words of metrics and log. The
first runs beside the command and delays nothing; it is killed after 30s, and when the term is
over. The second runs when the command has ended and before the role is released, for at most 5s
and never beyond the promise: if the role is lost it may not run. A hook that fails is a
warning.

` + stallHelp + warmHelp + `
A command that ends by itself ends this process with its own exit code: 128 plus the signal
if a signal ended it, 127 if it could not be started. A stop ends this process with 0,
whatever the command's code is. That includes a SIGTERM to the whole service by which the
command ends first, up to half a second before this process gets its own.

With --fence a shell command kills the host of an active that is silent, through its power supply,
its hypervisor or its cloud. Exit code 0 says that the host is dead, and the role is taken at once.
The command gets UNDERSTUDY_FENCE_ID, _ADDRESS, _SESSION and _LABEL_ with each label's name in
capitals. It runs on one standby, and may take the rest of the silent one's promise. If it fails or
takes longer, the promise counts.

One process can have several roles, each with a command of its own and active or standby
independently: list them as "roles" in the file that --config names; see docs/configuration.md.
`

// runCodes are the exit codes of run.
var runCodes = cli.Codes{
	0:               "a stop was requested, or the command ended with 0",
	cli.Usage:       "a mistake in the command line, the environment or the file of settings, or an error that no retry can cure",
	cli.Unavailable: "the store did not answer within --connect-timeout",
	cli.Held:        "another process has the ID, or the role with --active-standby=false",
	cli.Lost:        "the role was lost, with --on-loss=exit; or work outlived the promise",
	127:             "the command could not be started; any other code is the command's",
	137:             "the witness killed this process, and says why",
}

func newRun(s *signals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run [flags] [-- COMMAND [ARG...]]",
		Short: "Run a command only while this process is active",
		Long:  runText + runCodes.String(),
		Example: `  export UNDERSTUDY_ROLE=billing UNDERSTUDY_RAFT_PEERS=a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003
  understudy run --id a --raft-dir /tmp/a -- ./billing --port 80
  understudy run --id b --raft-dir /tmp/b --ttl 2s --on-exit restart -- sh -c 'exec ./billing'
  understudy run --config coordinators.yaml --id a`,
		Args: cobra.ArbitraryArgs,
	}
	set := cmd.Flags()
	o := newOptions(set, cli.NodeKeys(), runKeys)
	o.Collect()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := o.Read(cmd)
		err = errors.Join(err, o.ForContender(), o.checkCommands(args, cmd.ArgsLenAtDash()), procgroup.CanLook(), o.checkIsolation(), o.checkWatchdog(), o.checkWarm(), o.checkFence(), o.checkEndpoint())
		if err == nil {
			err = o.Explain(o.Coordinator.CheckFiles())
		}
		if err != nil {
			return o.afterDashes(args, err)
		}
		if os.Getpid() == 1 && o.NoWitness() == "" {
			// All others die with a container's first process, the witness too: so that process
			// does nothing but wait for them.
			return cli.Exit(procgroup.Supervise(s.take(true)), nil)
		}
		return ofTwins(o.Explain(run(cmd.Context(), o, s)))
	}
	return cmd
}

// ofTwins gives the error of a node of embedded Raft that runs already its exit code.
func ofTwins(err error) error {
	if errors.Is(err, raft.ErrTwin) {
		return cli.Exit(cli.Held, err)
	}
	return err
}

// warmHelp is the part of the help text about warm commands.
const warmHelp = `
With --warm the command runs on every host, in standby too, so a takeover does not wait until it has
started. It inherits a socket, whose number is in UNDERSTUDY_SOCKET, and reads a line there when its
state changes: "standby", "active token=N deadline=D" or "stop". It writes READY=1 when it could work, and IDLE=N
when nothing of it works under token N any more: the role is released then. A command that does not
stand down in time is killed and started anew. --warm=restart is for a command that cannot stand
down: it is ended then, and started anew. docs/warm.md has the rest, with examples.
`

// stallHelp is the part of the help text about stalls.
const stallHelp = `With --watchdog the command must say that it makes progress, by the protocol of sd_notify(3),
which many programs speak: READY=1 within 30s, and then WATCHDOG=1 at least once in that time. If
it does not, it has stalled: the role is lost, and goes to another contender. WATCHDOG_USEC has that
time in microseconds; sending after every half of it is usual. Started by systemd, this process
tells systemd its state.

--canary names a directory on the disk that the command needs; a small file there is written and
synced all the time. If no write returns for the watchdog's time, or ttl/2 without one, the roles go
to another contender, and this process takes none until the disk answers.
`

var errRoleLost = errors.New("the role was lost")

// run takes part until it is told to stop, or the end or loss of a command is a reason to.
func run(ctx context.Context, o *options, s *signals) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var err error
	if o.deadline, err = procgroup.NewDeadline(); err != nil {
		return err
	}
	config := o.Coordinator
	tellManager(ctx, &config)
	shown, err := o.Listen()
	if err != nil {
		return err
	}
	if shown != nil {
		defer shown.Close()
	}
	c := newCommands(o, cancel)
	if err := c.warmUp(&config); err != nil {
		return err
	}
	c.warnOfUsers()
	if text := o.SlowElections(); text != "" {
		config.Logger.Warn(text)
	}
	heard := s.take(true)
	defer signal.Stop(heard)
	go c.listen(heard)

	store := &awaited{}
	if o.Run.ConnectTimeout > 0 {
		store.timer = time.AfterFunc(o.Run.ConnectTimeout, func() { cancel(errNoAnswer) })
	}
	if store.Locker, err = o.Open(ctx); err != nil {
		return o.stopped(ctx, err)
	}
	config.Outlives = true
	config.StopTimeout = ages // the command has its own timeout, after which it is killed
	config.Exit = c.exit
	config.OnDeadline = c.moveDeadline
	c.beside(&config)
	shownAt := publish(o, &config)
	err = coordinator.Run(ctx, store.whole(), config, c.work)
	c.end()
	shownAt.end()
	if err := store.Close(); err != nil { // does not change how the run ends
		config.Logger.Error("the store was not closed in order", "error", err)
	}
	asynclog.Flush(config.Logger, asynclog.ExitFlush)
	var held *lock.HeldError
	var ended *endedError
	switch cause := context.Cause(ctx); {
	case errors.As(err, &held) && held.Token != 0:
		if o.Given("roles") {
			return fmt.Errorf("%w; to stand by instead, set activeStandby.enabled: true for it", err)
		}
		return fmt.Errorf("%w; to stand by instead, set --active-standby=true", err)
	case onlyLate(err, cause):
		config.Logger.Warn("this process ends, as it was told to, and leaves something behind", "error", err)
		asynclog.Flush(config.Logger, asynclog.ExitFlush)
	case err != nil:
		return err
	case errors.Is(cause, errNoAnswer):
		return o.stopped(ctx, store.err)
	case errors.Is(cause, errRoleLost):
		return cli.Exit(cli.Lost, cause)
	case errors.As(cause, &ended) && ended.code != 0 && !c.wasStopped(ended):
		return cli.Exit(ended.code, nil)
	}
	return nil
}

// onlyLate reports whether a run that was told to stop did so, but for something that has not returned.
func onlyLate(err, cause error) bool {
	return errors.Is(err, coordinator.ErrNotReturned) && errors.Is(cause, coordinator.ErrStopping) && !errors.Is(cause, errRoleLost)
}

// ages is how long the role is kept when a stop is asked for and some of the command cannot be
// killed: beats go on, and nobody takes over while it works.
const ages = 365 * 24 * time.Hour

// stopped is what a failure before anything was started means: nothing, if a requested stop
// caused it.
func (o *options) stopped(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, lock.ErrPermanent) || ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), errNoAnswer):
		return cli.Unreachable(fmt.Errorf("the store did not answer within --connect-timeout %v:\n%w", o.Run.ConnectTimeout, err))
	}
	return nil
}

var errNoAnswer = errors.New("the store did not answer")

// An awaited Locker stops its timer at the first answer to a registration.
type awaited struct {
	lock.Locker
	timer *time.Timer // nil: no limit
	err   error       // of the last registration that had no answer; coordinator.Run makes one at a time
}

// whole is the Locker, with its optional interfaces.
func (a *awaited) whole() lock.Locker {
	op, ok := a.Locker.(lock.Operator)
	if !ok {
		return a
	}
	return struct {
		*awaited
		lock.Operator
	}{a, op}
}

// Register is the Locker's.
func (a *awaited) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	s, err := a.Locker.Register(ctx, c, p, bids...)
	o := lock.OutcomeOf(err)
	answered := o != lock.Unknown && o != lock.OtherStore
	if a.err == nil || ctx.Err() == nil { // our giving up is not the reason
		a.err = err
	}
	if answered && a.timer != nil {
		a.timer.Stop()
	}
	return s, err
}
