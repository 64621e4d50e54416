package clientconf

import (
	"errors"
	"io"
	"syscall"
)

// Dropped reports whether err says that the other side ended the connection before it answered. Which of these errors
// comes is chance: it depends on whether the end was known when the call was written.
func Dropped(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
