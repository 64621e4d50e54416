package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/lack"
	"github.com/understudy-ha/understudy/lock"
)

// The exit codes of every command, in addition to its own. They follow sysexits.h if that has
// one. The rule: Usage is for what was given, the command line, the environment and the file of
// settings, also where the store refuses it, as a wrong password, and where TLS with it does not come
// about; Lacking where this machine does not let a command begin; NotDone for what was refused or failed as
// things stand; Unavailable where the store does not answer. A supervisor should start the process again after every code but Usage.
const (
	NotDone     = 1  // what was asked for did not happen
	Usage       = 64 // what was given is wrong
	Unavailable = 69 // the store cannot be reached
	Lacking     = 71 // this machine lacks what it takes, as things stand
	Held        = 73 // another process has the ID, or the role with --active-standby=false
	Unwritten   = 74 // what was asked for is done, but the answer could not be written
	Lost        = 75 // the role was lost, with --on-loss=exit
)

// Codes are the exit codes of one command, in its words. An empty text means what the code means
// everywhere. Each command has Usage, Lacking and Unwritten.
type Codes map[int]string

// meanings are what codes mean everywhere.
var meanings = Codes{
	0:           "done",
	NotDone:     "refused, or it failed; it says why",
	Usage:       "a mistake in the command line, the environment or the file of settings, or the store refuses these settings",
	Unavailable: "the store cannot be reached",
	Lacking:     "this machine did not let it begin: a full or failing disk, too many open files, an address or a directory in use",
	Unwritten:   "done, but the answer could not be written",
}

// String is the part of a help text about exit codes.
func (c Codes) String() string {
	all := Codes{Usage: "", Lacking: "", Unwritten: ""}
	maps.Copy(all, c)
	var text strings.Builder
	text.WriteString("\nExit codes:")
	for _, code := range slices.Sorted(maps.Keys(all)) {
		meaning := all[code]
		if meaning == "" {
			meaning = meanings[code]
		}
		fmt.Fprintf(&text, "\n  %-3d %s", code, meaning)
	}
	return text.String()
}

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

// Mistake gives an error about what was given its exit code, where it is found only while the command
// acts. Mistake(nil) is nil.
func Mistake(err error) error {
	if err == nil {
		return nil
	}
	return Exit(Usage, err)
}

// Unreachable gives an error of the store its exit code: some are permanent, and some are about what was given.
func Unreachable(err error) error {
	switch {
	case err == nil:
		return nil
	case certs.Failed(err):
		return Mistake(err)
	case errors.Is(err, lock.ErrPermanent):
		return err
	}
	return Exit(Unavailable, err)
}

// Refused gives the error of a command that has begun to act its exit code: what was given was found
// good before, unless the error names a setting.
func Refused(err error) error {
	var exit *ExitError
	var field *lock.FieldError
	var unwritten *unwrittenError
	if err == nil || errors.As(err, &exit) || errors.As(err, &field) || errors.As(err, &unwritten) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if certs.Failed(err) {
		return Mistake(err)
	}
	return Exit(NotDone, err)
}

// Unmade gives the error of a command that does nothing but make files its exit code.
func Unmade(err error) error {
	if lack.Is(err) {
		return Exit(Lacking, err)
	}
	return Refused(err)
}

// codeOf is the exit code of an error, and whether it has something to say. Cobra's errors are about the command line.
func codeOf(err error) (code int, says bool) {
	var exit *ExitError
	var held *lock.HeldError
	var unwritten *unwrittenError
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &exit):
		return exit.Code, exit.err != nil
	case errors.As(err, &unwritten):
		return Unwritten, false // the answer says it
	case errors.As(err, &held):
		return Held, true
	case errors.Is(err, context.DeadlineExceeded) && !certs.Failed(err):
		return Unavailable, true
	case lack.Is(err):
		return Lacking, true
	}
	return Usage, true
}
