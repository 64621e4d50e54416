package cli

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
	"github.com/understudy-ha/understudy/lock"
)

// Options are what flags, environment and file say: the settings of package config, and the flags
// for one call only.
type Options struct {
	*config.Config
	Set  *pflag.FlagSet
	keys []string // that have a flag

	Ours    bool         // other tools' variables are ignored
	Unread  bool         // the file could not be read: what seems to be missing may stand there
	Judge   func() error // says what else is wrong; nil: nothing is
	Timeout time.Duration
}

// TimeKeys are the times of the protocol.
var TimeKeys = []string{"ttl", "grace", "skew", "stopTimeout"}

// StoreKeys are the keys for a process that only looks and asks.
func StoreKeys() []string {
	return keysOf(func(k config.Key) bool { return !k.Member })
}

// NodeKeys are the keys for a process that takes part.
func NodeKeys() []string {
	return append(keysOf(func(k config.Key) bool { return !k.Command }), "id")
}

// PlanKeys are the keys for planning the times with a store.
func PlanKeys() []string {
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

// NewOptions are the options of a command with a flag for each key, and for each section, that is
// named: Collect adds them.
func NewOptions(set *pflag.FlagSet, keys ...[]string) *Options {
	return &Options{Set: set, keys: slices.Concat(keys...)}
}

// Duration is a flag for one call, with a time that must not be zero if given.
func (o *Options) Duration(to *time.Duration, name string, value time.Duration, usage string) {
	*to = value
	o.Set.Var((*durationFlag)(to), name, usage)
}

// Read reads flags, environment and file, and returns everything that is wrong.
func (o *Options) Read(cmd *cobra.Command) error {
	c, err := config.Read(config.Source{Flags: o.Set, Log: cmd.ErrOrStderr(), Ours: o.Ours, Known: func(name string) bool { return isVariable(cmd.Root(), name) }})
	o.Config = c
	for _, w := range c.Warnings {
		Say(cmd.ErrOrStderr(), abridge("understudy: warning: "+w)+"\n")
	}
	if o.Unread = config.IsUnread(err); o.Judge != nil && !o.Unread {
		err = errors.Join(err, o.Judge())
	}
	return err
}

// OneRole says what is wrong with the role that is asked about.
func (o *Options) OneRole() error {
	if o.Role() == "" && o.Given("role") {
		return nil // it is empty, or no text: Read says so
	}
	if o.Role() == "" {
		return NoRole("role: none is given; write --role ROLE, or set UNDERSTUDY_ROLE")
	}
	return o.CheckName("role", o.Role())
}

// CheckName says what is wrong with the name that the setting key was given.
func (o *Options) CheckName(key, name string) error {
	switch {
	case name == "" && o.Given(key):
		return nil // it is empty, or no text: Read says so
	case name == "":
		return fmt.Errorf("%s: none is given; write --%s %s, or set %s", key, key, strings.ToUpper(key), variable(key))
	}
	return o.Explain(lock.InFields(lock.CheckName("", name), key))
}

// isVariable reports whether any command has a flag with this variable.
func isVariable(root *cobra.Command, name string) (found bool) {
	root.Flags().VisitAll(func(f *pflag.Flag) { found = found || variable(f.Name) == name })
	for _, c := range root.Commands() {
		found = found || isVariable(c, name)
	}
	return found
}

// Ask does something at the store as a client that only looks and asks, within the timeout. If
// only a role is missing it says which there are.
func (o *Options) Ask(cmd *cobra.Command, do func(context.Context, lock.Locker) error) error {
	err := errors.Join(o.Read(cmd), o.ForClient())
	var missing NoRole
	if errors.As(err, &missing) && err.Error() == missing.Error() {
		do = func(ctx context.Context, l lock.Locker) error {
			text, _ := roles(ctx, l)
			return Mistake(fmt.Errorf("%w; %s", missing, text))
		}
	} else if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.Timeout)
	defer cancel()
	ctx = o.tellWait(ctx, cmd.ErrOrStderr())
	l, err := o.Dial(ctx)
	if err != nil {
		return o.Explain(err)
	}
	return Refused(o.Explain(errors.Join(do(ctx, l), l.Close())))
}

// NoRole says that no role was given, and how to give one.
type NoRole string

// Error is the text as it was given.
func (n NoRole) Error() string { return string(n) }

// NoPart says that nobody has taken part in a role, and which roles the store has; "": somebody has by now.
func NoPart(ctx context.Context, l lock.Locker, role string) string {
	text, names := roles(ctx, l)
	if slices.Contains(names, role) {
		return ""
	}
	return fmt.Sprintf("role %q: nobody has taken part in it; %s", role, text)
}

// roles says which roles the store has. Nobody waits for that for more than two seconds.
func roles(ctx context.Context, l lock.Locker) (text string, names []string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := All(ctx, l, func(st lock.Standing) bool {
		names = append(names, st.Role)
		return true
	})
	slices.Sort(names)
	names = slices.Compact(names)
	switch {
	case len(names) == 0 && err != nil:
		return "the store does not answer", nil
	case len(names) == 0:
		return "the store has none", nil
	}
	shown, more := names, ""
	if n := len(names) - 20; n > 0 {
		shown, more = names[:20], fmt.Sprintf(" and %d more", n)
	}
	return "the store has " + strings.Join(shown, ", ") + more, names
}

// Pause keeps a store that fails at once from being asked without a break.
func Pause(ctx context.Context) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
}
