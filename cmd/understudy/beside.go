package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/group"
	"github.com/understudy-ha/understudy/coordinator/witness"
)

// beside gives the coordinator its health check, and the commands its witness.
func (c *commands) beside(config *coordinator.Config) {
	var there bool
	if c.witness, there = config.Witness.(*witness.Witness); !there {
		config.Logger.Warn("no witness: a crash costs the ttl, and a wrapper that is stopped while its command works on is not covered",
			"id", config.ID, "why", c.options.NoWitness())
	}
	if c.options.Run.Health != "" {
		config.Healthy = c.options.healthy
	}
}

// healthy runs the health command. What that leaves behind ends with it, and it with us.
// What it prints is logged: a check that wrote past the log would hang with a log that
// stalls.
func (o *options) healthy(ctx context.Context) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	g, err := group.Start(group.Spec{Path: "/bin/sh", Argv: []string{"sh", "-c", o.Run.Health}, Env: os.Environ(), Stdout: in, Stderr: in})
	_ = in.Close() // the command has its own
	go o.relay(out)
	if err == nil {
		defer g.Kill()
		select {
		case <-g.Done():
			if g.Code() != 0 {
				err = fmt.Errorf("it ended with code %d", g.Code())
			}
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("health command %q: %w", strings.TrimSpace(o.Run.Health), err)
	}
	return nil
}

// relay logs what the health command prints, until nobody is left who could.
func (o *options) relay(out *os.File) {
	defer out.Close()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		o.Coordinator.Logger.Info("the health command says", "line", lines.Text())
	}
	_, _ = io.Copy(io.Discard, out) // a line that is too long
}
