//go:build unix

package procgroup

import "errors"

// A Series runs one command again and again, once at a time. On Linux one init serves all
// runs, so a run costs no more than the command itself. Whatever a run leaves behind is
// killed before that run counts as over: nothing grows.
type Series struct{ series }

// ErrEnded says that the Series has ended: End was called, or its init was killed.
var ErrEnded = errors.New("the init has ended")

// StartSeries starts no command yet. Its standard input is /dev/null. Of the Spec, Stdin, Gate
// and Deadline do not count.
func StartSeries(s Spec) (*Series, error) {
	all := &Series{}
	return all, all.start(s)
}
