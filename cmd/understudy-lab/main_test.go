package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestMain is also the program, for the processes that the tests start.
func TestMain(m *testing.M) {
	cli.Prepare()
	if os.Getenv("UNDERSTUDY_TEST") == "lab" {
		os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	// With the race detector every process of ours would sleep for a second as it ends.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	os.Exit(m.Run())
}

// TestHelp has an example in the help of every command.
func TestHelp(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		if !cmd.Hidden && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.Name())
		}
	}
}
