// Package lab is what the tests of all packages share.
package lab

import (
	"context"
	"testing"
	"time"
)

// Must ends the test if err is one.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Within returns a context that ends after d, and not before what the test cleans up.
func Within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), d)
	t.Cleanup(cancel)
	return ctx
}

// patience is how long Eventually waits: longer than anything takes on a busy machine.
const patience = 30 * time.Second

// Eventually waits until something is so of which nobody tells. It is for real time: in a
// bubble of testing/synctest everybody tells.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}
