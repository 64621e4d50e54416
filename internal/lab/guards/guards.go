// Package guards is what the tests of the fencing guards share.
package guards

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
)

// Main runs a package's tests, then after, and fails for goroutines that are left. In a
// process in which the variable is set it runs child instead, with the variable's value.
func Main(m *testing.M, variable string, child func(text string) error, after func()) {
	if text, ok := os.LookupEnv(variable); ok {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	after()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// WantStale fails unless err is a *StaleError of role r with these tokens.
func WantStale(t testing.TB, err error, token, current lock.Token) {
	t.Helper()
	var stale *fencing.StaleError
	if !errors.As(err, &stale) || *stale != (fencing.StaleError{Role: "r", Token: token, Current: current}) {
		t.Fatalf("got %v, want token %d refused for %d", err, token, current)
	}
}
