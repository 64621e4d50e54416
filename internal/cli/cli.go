// Package cli is what the programs understudy and understudy-lab have in common: settings as
// flags, environment and file, exit codes, and how errors are printed.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/lock"
)

// Prepare comes before anything else in a program: this process may be a witness. gRPC's messages
// reach us as errors, and not past the log; other libraries' messages wait for no reader.
func Prepare() {
	traceWithoutWaiting()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	slog.SetLogLoggerLevel(slog.LevelDebug) // of libraries that print by package log
	slog.SetDefault(asynclog.Logger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	witness.Main(backends.Beside)
}

// The exit codes, in addition to the command's own. They follow sysexits.h if that has one.
const (
	NotDone     = 1  // what was asked for did not happen
	Usage       = 64 // flags, environment, file, or an error that no retry can cure
	Unavailable = 69 // the store cannot be reached
	Held        = 73 // another process has the ID, or the role with --active-standby=false
	Lost        = 75 // the role was lost, with --on-loss=exit
)

// ExitCodes is the part of a help text about them.
const ExitCodes = `
Exit codes:
  0   a requested stop, or the request is done
  1   the request was not done
  64  a mistake in flags, environment or file, or an error that no retry can cure
  69  the store cannot be reached
  73  another process has the ID, or the role with --active-standby=false
  75  the role was lost, with --on-loss=exit; or work outlived the promise`

// An ExitError is an error with an exit code of its own.
type ExitError struct {
	Code int
	err  error // nil: there is nothing to print
}

// Exit gives err an exit code. A nil err prints nothing.
func Exit(code int, err error) *ExitError { return &ExitError{code, err} }

// Error is the error's own text, or the code if there is none.
func (e *ExitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.err.Error()
}

// Unwrap returns the error that was given a code; nil: there is none.
func (e *ExitError) Unwrap() error { return e.err }

// Unreachable gives an error of the store its exit code: some are permanent.
func Unreachable(err error) error {
	if err == nil || errors.Is(err, lock.ErrPermanent) {
		return err
	}
	return Exit(Unavailable, err)
}

// Execute runs one command line of the program and returns the exit code.
func Execute(ctx context.Context, root *cobra.Command, args []string, out, errs io.Writer) int {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(unknownFlag)
	root.Version = built().String()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n") // as the command version
	prepare(root.Commands())
	offerWords(root)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var exit *ExitError
	var held *lock.HeldError
	switch {
	case errors.As(err, &exit):
		if exit.err != nil {
			complain(root, err)
		}
		return exit.Code
	case errors.As(err, &held):
		complain(root, err)
		return Held
	case errors.Is(err, context.DeadlineExceeded):
		complain(root, err)
		return Unavailable
	case unwritten(err, out):
		complain(root, err)
		return NotDone
	}
	complain(root, err)
	return Usage
}

// unwritten reports whether err is that the answer could not be written to out, as to a disk that is
// full: that is no mistake of the command line.
func unwritten(err error, out io.Writer) bool {
	var path *fs.PathError
	file, ok := out.(*os.File)
	return ok && errors.As(err, &path) && path.Op == "write" && path.Path == file.Name()
}

// suggestion is how cobra says which command may have been meant.
var suggestion = regexp.MustCompile(`\n\nDid you mean this\?\n\t(\S+)\n`)

// NoArgs refuses arguments to a command that takes only flags.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%q belongs to no flag: %s takes only flags; see %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())
}

func prepare(all []*cobra.Command) {
	for _, c := range all {
		c.SilenceUsage = true
		if c.HasSubCommands() && !c.Runnable() {
			c.RunE = subcommand
		}
		prepare(c.Commands())
	}
}

// subcommand refuses what is no command of a command that only has others. By itself it would
// be helped, and end as if all were well.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return fmt.Errorf("unknown command %q for %q%s; see %s --help", args[0], cmd.CommandPath(), config.DidYouMean(args[0], names), cmd.CommandPath())
}

// OneArg takes one argument beside the flags, which what describes.
func OneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return fmt.Errorf("%s takes one argument, %s; it was given %d", cmd.CommandPath(), what, len(args))
	}
}

// complain prints every problem on a line of its own.
func complain(root *cobra.Command, err error) {
	var text strings.Builder
	for line := range strings.SplitSeq(suggestion.ReplaceAllString(err.Error(), `, did you mean "$1"?`), "\n") {
		if strings.TrimSpace(line) != "" {
			fmt.Fprintln(&text, abridge(root.Name()+": "+line))
		}
	}
	Say(root.ErrOrStderr(), text.String())
}

// endless is a value that is too long to be repeated: what is wrong with it is seen at its begin.
var endless = regexp.MustCompile(`"[^"\n]{300,}"|\S{400,}`)

// abridge shortens what somebody gave by mistake, such as a file in place of its name.
func abridge(line string) string {
	return endless.ReplaceAllStringFunc(line, func(value string) string {
		head, tail := value[:100], value[len(value)-20:]
		return fmt.Sprintf("%s...(%d bytes)...%s", strings.ToValidUTF8(head, ""), len(value), strings.ToValidUTF8(tail, ""))
	})
}

// Say prints text, and gives up after a while: no process stays, and none fails to start,
// because nobody reads what it has to say.
func Say(to io.Writer, text string) {
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
