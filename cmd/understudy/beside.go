package main

import (
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
)

// beside gives the coordinator its health check and its fence command, and the commands its witness.
func (c *commands) beside(config *coordinator.Config) {
	var there bool
	if c.witness, there = config.Witness.(*witness.Witness); !there {
		config.Logger.Warn("no witness: a crash or a hang costs the ttl",
			"id", config.ID, "why", c.options.NoWitness())
	}
	if c.options.Run.Health != "" {
		h := &health{command: c.options.Run.Health, log: config.Logger}
		config.Healthy = h.check
	}
	if c.options.Run.Fence != "" {
		f := &fence{c.options, config.Logger}
		config.Fence = f.run
	}
}
