// Package lack recognizes the errors that a machine causes and not the settings: a full or failing disk, too many open
// files or processes, an address or a directory that is in use. They can be cured without a change of settings, so
// it is worth starting the program again.
package lack

import (
	"errors"
	"slices"
	"strings"
	"syscall"
)

// all are those errors. EADDRNOTAVAIL is among them because an interface may come up later. EAGAIN is a locked file, or
// one process too many.
var all = []error{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO,
	syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM,
	syscall.EADDRINUSE, syscall.EADDRNOTAVAIL,
}

// Is reports whether err has one of them in its chain.
func Is(err error) bool {
	return slices.ContainsFunc(all, func(one error) bool { return errors.Is(err, one) })
}

// Found adds to err's chain the error that its text names, for libraries that keep only the text.
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
