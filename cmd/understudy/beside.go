package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/understudy-ha/understudy/coordinator/group"
	"github.com/understudy-ha/understudy/coordinator/witness"
)

// beside gives the coordinator its witness and its health check.
func (c *command) beside() {
	o := c.options
	switch why := o.noWitness(); {
	case why == "":
		c.witness = witness.New(o.open())
		o.config.Witness = c.witness
	default:
		o.config.Logger.Warn("no witness: a crash costs the ttl; not covered are a wrapper that is stopped while its command works on, and grandchildren of a killed wrapper",
			"role", o.role, "id", o.config.ID, "why", why)
	}
	if o.health != "" {
		o.config.Healthy = o.healthy
	}
}

// noWitness says why there is no witness, or "".
func (o *options) noWitness() string {
	switch {
	case !o.witness:
		return "--witness=false"
	case o.backend == "memory":
		return "the store dies with this process"
	case o.backend == "raft" && len(o.raft.Peers) < 2:
		return "no other peer is left to ask when this one is dead"
	}
	return ""
}

// healthy runs the health command. It does not wait for what that leaves behind.
func (o *options) healthy(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", o.health)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = group.Attributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("health command %q: %w", strings.TrimSpace(o.health), err)
	}
	return nil
}
