// Package late says that a call got no answer in time, or before it was given up.
package late

import (
	"context"
	"errors"
	"fmt"
)

// Alone reports whether err is that of a context itself. An error that wraps one says more.
func Alone(err error) bool {
	return err == context.DeadlineExceeded || err == context.Canceled //nolint:errorlint // see above
}

// Is reports whether err is that of a call whose deadline has passed, or that was given up without a word of why.
func Is(err error) bool { return errors.Is(err, context.DeadlineExceeded) || Alone(err) }

// Error returns an error with this text that wraps err. Where err is that of a context itself its words are left
// out: the text says that there was no answer, and for how long.
func Error(err error, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if !Alone(err) {
		return fmt.Errorf("%s: %w", text, err)
	}
	return &lateError{text, err}
}

type lateError struct {
	text string
	err  error
}

func (e *lateError) Error() string { return e.text }
func (e *lateError) Unwrap() error { return e.err }
