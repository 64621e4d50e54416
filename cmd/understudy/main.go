// Command understudy runs one copy of a program among many machines, and shows
// and steers which one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

func main() {
	prepare()
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// prepare comes before anything else: this process may be a command's init, or a witness.
// What gRPC has to say reaches us as errors, and not past the log; what others have to
// say there waits for no reader.
func prepare() {
	procgroup.Init()
	traceWithoutWaiting()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	slog.SetDefault(asynclog.Logger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	witness.Main(backends.Beside)
}

// The exit codes, besides the command's own. They follow sysexits.h where that
// has one.
const (
	exitNotDone     = 1  // a handoff or an eviction that was asked for did not come about
	exitUsage       = 64 // flags, environment, file, or what no retry can cure
	exitUnavailable = 69 // the store cannot be reached
	exitHeld        = 73 // another process has the ID, or the role with --active-standby=false
	exitLost        = 75 // the role was lost, with --on-loss=exit
)

const exitCodes = `
Exit codes:
  0   a stop that was asked for, or what was asked for is done
  64  a mistake in flags, environment or file, or what no retry can cure
  69  the store cannot be reached
  73  another process has the ID, or the role with --active-standby=false
  75  the role was lost, with --on-loss=exit; or work outlived the promise`

// A codeError is an error with an exit code of its own.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

// unavailable gives an error of the store its exit code: some last.
func unavailable(err error) error {
	if err == nil || errors.Is(err, lock.ErrPermanent) {
		return err
	}
	return &codeError{exitUnavailable, err}
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var coded *codeError
	var held *lock.HeldError
	switch {
	case errors.As(err, &coded):
		if coded.err != nil {
			complain(errs, coded.err)
		}
		return coded.code
	case errors.As(err, &held):
		complain(errs, err)
		return exitHeld
	case errors.Is(err, context.DeadlineExceeded):
		complain(errs, err)
		return exitUnavailable
	}
	complain(errs, err)
	return exitUsage
}

// complain prints every problem on a line of its own.
func complain(to io.Writer, err error) {
	say(to, problems(err))
}

// say prints text, and gives up after a while: no process stays, and none fails to start,
// because nobody reads what it has to say.
func say(to io.Writer, text string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.WriteString(to, text) // there is nobody else to tell
	}()
	select {
	case <-done:
	case <-time.After(asynclog.ExitFlush):
	}
}

func problems(err error) string {
	var text strings.Builder
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		fmt.Fprintln(&text, "understudy: "+line)
	}
	return text.String()
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "understudy",
		Short: "Active-standby for any program: one runs, the others stand by",
		Long: `Start a program on two or more machines; one is active, the others stand by and take
over when it stops, crashes, hangs or is cut off.

Every flag is also an environment variable, and a setting may stand in a file that --config
names: --raft-peers is UNDERSTUDY_RAFT_PEERS, and raft.peers there. A flag counts more than
a variable, and that more than the file.`,
		Example: `  understudy demo
  understudy run --role billing --id a --raft-dir /var/lib/a --raft-peers a=h1:7001,b=h2:7001,c=h3:7001 -- ./billing
  understudy status --role billing --raft-peers a=h1:7001,b=h2:7001,c=h3:7001`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(newRun(), newDemo(), newDemoContender(), newStatus(), newHandoff(), newEvict(), newTokenFloor(), newAdopt(),
		newVoter(), newPlan(), newConfig(), newVersion(), newBench(), newBenchContender(), newConformance())
	root.SetFlagErrorFunc(unknownFlag)
	for _, c := range root.Commands() {
		c.SilenceUsage = true
	}
	return root
}
