package main

import (
	"slices"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/procgroup"
)

// options are the options of a command.
type options struct {
	*cli.Options
	deadline *procgroup.Deadline // of run: until when the commands may live
}

// runKeys are what the flags of run are about.
var runKeys = slices.Concat(cli.TimeKeys, []string{
	"log", "role", "roles", "heartbeat", "address", "priority", "label", "activeStandby", "onLoss", "onExit", "warm", "onActive", "onStandby", "connectTimeout",
	"stdin", "witness", "isolate", "hangTimeout", "health", "healthInterval", "watchdog", "canary", "lockFile", "fence", "endpointSlice", "admin",
})

func newOptions(set *pflag.FlagSet, keys ...[]string) *options {
	return &options{Options: cli.NewOptions(set, keys...)}
}
