// Package lack knows the errors that say what this machine does not give as things stand: room on a disk, a
// file, a process, an address or a directory that is in use, a disk that works. Somebody can cure each of them
// without changing what a program was given, so it pays to start the program again.
package lack

import (
	"errors"
	"slices"
	"strings"
	"syscall"
)

// all are those errors. An address that this machine has not is among them: its interface may not be up yet. A
// locked file is EAGAIN, as is a process too many.
var all = []error{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO,
	syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM,
	syscall.EADDRINUSE, syscall.EADDRNOTAVAIL,
}

// Is reports whether err has one of them in its chain.
func Is(err error) bool {
	return slices.ContainsFunc(all, func(one error) bool { return errors.Is(err, one) })
}

// Found puts the one that err's text names into its chain, for errors of libraries that keep only the text.
func Found(err error) error {
	if err == nil || Is(err) {
		return err
	}
	for _, one := range all {
		if strings.Contains(err.Error(), one.Error()) {
			return &found{err, one}
		}
	}
	return err
}

// A found error says what err says.
type found struct{ err, cause error }

func (f *found) Error() string   { return f.err.Error() }
func (f *found) Unwrap() []error { return []error{f.err, f.cause} }
