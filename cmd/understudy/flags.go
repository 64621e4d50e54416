package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

// options are what flags, environment and file say: the settings that package config
// knows, and what is said of one call alone.
type options struct {
	*config.Config
	set  *pflag.FlagSet
	keys []string // that have a flag
	bad  []error  // of flags of one call, told with everything else that is wrong

	judge   func() error // says what else is wrong; nil: nothing is
	output  string
	timeout time.Duration

	deadline *procgroup.Deadline // of run: until when the commands may live
}

// What the flags of each kind of command are about.
var (
	timeKeys = []string{"ttl", "grace", "skew", "stopTimeout"}
	runKeys  = slices.Concat(timeKeys, []string{
		"log", "role", "roles", "heartbeat", "address", "priority", "label", "activeStandby", "onLoss", "onExit", "connectTimeout",
		"stdin", "witness", "isolate", "hangTimeout", "health", "healthInterval",
	})
)

// storeKeys are those of one who only looks and asks.
func storeKeys() []string {
	return keysOf(func(k config.Key) bool { return !k.Member })
}

// nodeKeys are those of one who takes part.
func nodeKeys() []string {
	return append(keysOf(func(k config.Key) bool { return !k.Command }), "id")
}

// planKeys are those of one who wants to know what the store means for the times.
func planKeys() []string {
	return keysOf(func(k config.Key) bool { return true })
}

// keysOf are the keys of stores for which ok holds.
func keysOf(ok func(config.Key) bool) []string {
	names := []string{"backend"}
	for _, k := range config.Keys() {
		if k.Store != "" && ok(k) {
			names = append(names, k.Name)
		}
	}
	return names
}

// newOptions are those of a command with a flag for each key, and for each section,
// that is named: collect adds them.
func newOptions(set *pflag.FlagSet, keys ...[]string) *options {
	return &options{set: set, keys: slices.Concat(keys...)}
}

// duration is a flag of one call for a time, which is never zero where it is given.
func (o *options) duration(to *time.Duration, name string, value time.Duration, usage string) {
	*to = value
	o.set.Var((*durationFlag)(to), name, usage)
}

// read reads flags, environment and file, and returns all that is wrong.
func (o *options) read(cmd *cobra.Command) error {
	o.readEnvironment()
	c, err := config.Read(config.Source{Flags: o.set, Log: cmd.ErrOrStderr(), Known: func(name string) bool { return isVariable(cmd.Root(), name) }})
	o.Config = c
	for _, w := range c.Warnings {
		say(cmd.ErrOrStderr(), "understudy: warning: "+w+"\n")
	}
	errs := append([]error{err}, o.bad...)
	if o.judge != nil {
		errs = append(errs, o.judge())
	}
	if o.set.Lookup("output") != nil {
		errs = append(errs, oneOf("output", o.output, "table", "json"))
	}
	return errors.Join(errs...)
}

// oneRole says what is wrong with the role that is asked about.
func (o *options) oneRole() error { return lock.CheckName("role", o.Role()) }

// isVariable reports whether any command has a flag with this variable.
func isVariable(root *cobra.Command, name string) (found bool) {
	root.Flags().VisitAll(func(f *pflag.Flag) { found = found || variable(f.Name) == name })
	for _, c := range root.Commands() {
		found = found || isVariable(c, name)
	}
	return found
}

// ask does something at the store as one who only looks and asks, within the
// timeout.
func (o *options) ask(cmd *cobra.Command, do func(context.Context, lock.Locker) error) error {
	err := o.read(cmd)
	if err := errors.Join(err, o.ForClient()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	l, err := o.Dial(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, l), l.Close())
}

func oneOf(name, value string, all ...string) error {
	for _, one := range all {
		if value == one {
			return nil
		}
	}
	return fmt.Errorf("%s %q: must be one of %s", name, value, strings.Join(all, ", "))
}
