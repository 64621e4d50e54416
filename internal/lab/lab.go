// Package lab is what the tests of all packages share: the workshop.
//
//	process     starts child processes, reads their lines and leaves none behind
//	servers     real etcd, Consul and their like, and a proxy that spoils the way to one
//	hosts       machines with addresses of their own, and a network that loses what is cut
//	cluster     Kubernetes, with nodes that run containers of Docker
//	serve       starts servers for one test
//	stores      starts the store that a test's processes share, embedded Raft too
//	guards      what the tests of fencing guards share
//	ways        the network of one Locker, for the conformance suite
//	faultdisk   a disk that stalls, is slow, full or read-only: a real one, by FUSE
//	script      scenarios, traces and planted mistakes as text
//	storebench, takeover   benchmarks that every store has
//
// A process that a test talks with is a [Child]:
//
//	c := lab.Talk(t, lab.Self(t, "WHAT_TO_BE", settings))
//	c.Say("write x")
//	c.Want("written")
package lab

import (
	"context"
	"os"
	"path/filepath"
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

// Settings writes a file of settings, and returns its path.
func Settings(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "understudy.yaml")
	Must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// Within returns a context that ends after d, and not before what the test cleans up.
func Within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), d)
	t.Cleanup(cancel)
	return ctx
}

// Patience is how long a test waits for what must come: longer than anything takes on a machine that is
// ten times too busy.
const Patience = 2 * time.Minute

// Eventually waits until something is so of which nobody tells. It is for real time: in a
// bubble of testing/synctest everybody tells.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Poll(ok) {
		t.Fatalf("waited %v in vain for %s", Patience, what)
	}
}

// Poll asks until something is so, and reports whether it came within Patience. The longer it waits the more rarely
// it asks, by 3 % of the time: a question may be a whole command, and those who are waited for need the machine, too.
func Poll(ok func() bool) bool {
	for began := time.Now(); !ok(); {
		waited := time.Since(began)
		if waited > Patience {
			return false
		}
		time.Sleep(min(max(time.Millisecond, waited/32), 50*time.Millisecond)) // nobody tells
	}
	return true
}
