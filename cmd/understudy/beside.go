package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/group"
	"github.com/understudy-ha/understudy/coordinator/witness"
)

// beside gives the coordinator its health check, and the commands its witness.
func (c *commands) beside(config *coordinator.Config) {
	var there bool
	if c.witness, there = config.Witness.(*witness.Witness); !there {
		config.Logger.Warn("no witness: a crash costs the ttl; not covered are a wrapper that is stopped while its command works on, and grandchildren of a killed wrapper",
			"id", config.ID, "why", c.options.NoWitness())
	}
	if c.options.Run.Health != "" {
		config.Healthy = c.options.healthy
	}
}

// healthy runs the health command. It does not wait for what that leaves behind.
func (o *options) healthy(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", o.Run.Health)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = group.Attributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("health command %q: %w", strings.TrimSpace(o.Run.Health), err)
	}
	return nil
}
