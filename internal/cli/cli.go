// Package cli is what the programs understudy and understudy-lab have in common: settings as
// flags, environment and file, exit codes, and how errors are printed.
package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/asynclog"
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

// Execute runs one command line of the program and returns the exit code.
func Execute(ctx context.Context, root *cobra.Command, args []string, out, errs io.Writer) int {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(unknownFlag)
	root.Version = built().String()
	root.SetVersionTemplate(`{{printf "%s %s\n" .Name .Version}}`) // as the command version, in one piece
	root.SetArgs(args)
	answer := &answer{to: out}
	root.SetOut(answer)
	root.SetErr(errs)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	prepare(root.Commands())
	helpAtOnce(root)
	if Completes(args) {
		offerWords(root)
	}
	var err error
	if len(args) > 0 && args[0] == "" { // cobra takes it for nothing
		err = unknownBelow(root, "")
	} else {
		err = root.ExecuteContext(ctx)
	}
	code, says := codeOf(err)
	if says {
		complain(root, err)
	}
	switch {
	case answer.err == nil:
		return code
	case errors.Is(answer.err, syscall.EPIPE): // its reader has had enough, as head(1) has
		if code == Unwritten {
			code = 0
		}
		return code
	case code == 0: // nobody has noticed
		code = Unwritten
	}
	answer.tell(root.Name(), code, errs)
	return code
}

// helpAtOnce has every help text written in one piece: a pipe takes it whole, also where its reader wants one line only.
func helpAtOnce(root *cobra.Command) {
	inPieces := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		out := cmd.OutOrStdout()
		cmd.SetOut(&text)
		inPieces(cmd, args)
		cmd.SetOut(out)
		_, _ = text.WriteTo(out) // the answer remembers what could not be written
	})
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
		switch {
		case c.HasSubCommands() && !c.Runnable():
			c.Args, c.RunE = cobra.ArbitraryArgs, subcommand
		case c.Name() == "help":
			c.Args = topic
		}
		prepare(c.Commands())
		if !c.HasSubCommands() && !strings.Contains(c.Long, "Exit codes:") {
			if c.Long == "" {
				c.Long = c.Short + ".\n"
			}
			c.Long = strings.TrimRight(c.Long, "\n") + "\n" + Codes{0: ""}.String()
		}
	}
}

// topic refuses help for an unknown command. Cobra alone would print an error and exit with 0.
func topic(cmd *cobra.Command, args []string) error {
	found, rest, err := cmd.Root().Find(args)
	if len(rest) > 0 { // Find refuses one below the root by itself, and lists none
		return unknownBelow(found, rest[0])
	}
	return err
}

// subcommand refuses what is not a command of a command that only has others. By itself it would
// be helped, and end as if all were well.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownBelow(cmd, args[0])
}

// unknownBelow says which commands a command has, where it is given another one.
func unknownBelow(cmd *cobra.Command, given string) error {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if len(names) == 0 {
		return fmt.Errorf("%q is not a command: %s has none below it", given, cmd.CommandPath())
	}
	return fmt.Errorf("unknown command %q for %q%s; it has %s", given, cmd.CommandPath(), config.DidYouMean(given, names), strings.Join(names, ", "))
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
var endless = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"[^"\n]{300,}"|\S{400,}`) })

// abridge shortens what somebody gave by mistake, such as a file in place of its name.
func abridge(line string) string {
	return endless().ReplaceAllStringFunc(line, func(value string) string {
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
