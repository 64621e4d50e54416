package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
)

// An answer is where a command writes what it has to say. It remembers what could not be written, as
// to a disk that is full: somebody has to hear of it, for what was asked for may be done.
type answer struct {
	to   io.Writer
	err  error  // why it cannot be written; nil: it can
	text []byte // all of it, as far as it is repeated
}

// mostRepeated is how much of an answer is repeated on standard error.
const mostRepeated = 1024

// An unwrittenError says why an answer could not be written.
type unwrittenError struct{ err error }

func (e *unwrittenError) Error() string { return e.err.Error() }
func (e *unwrittenError) Unwrap() error { return e.err }

// Write writes what it can. Nothing is written after something that could not be.
func (a *answer) Write(p []byte) (n int, err error) {
	if len(a.text) <= mostRepeated {
		a.text = append(a.text, p[:min(len(p), mostRepeated+1)]...)
	}
	if a.err == nil {
		if n, err = a.to.Write(p); err != nil {
			a.err = &unwrittenError{err}
		}
	}
	return n, a.err
}

// tell says on standard error that the answer could not be written, and the whole of it if it is short: where a part
// was written, the rest alone could not be read.
func (a *answer) tell(name string, code int, errs io.Writer) {
	text := fmt.Sprintf("%s: the answer could not be written: %v", name, a.err)
	if code == Unwritten {
		text = fmt.Sprintf("%s: done, but the answer could not be written: %v", name, a.err)
	}
	if whole := strings.TrimSpace(string(a.text)); len(a.text) <= mostRepeated && whole != "" {
		text += "\n" + whole
	}
	Say(errs, text+"\n")
}

// Terminal reports whether a command's answer goes to a terminal.
func Terminal(out io.Writer) bool {
	if a, ok := out.(*answer); ok {
		out = a.to
	}
	file, ok := out.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}
