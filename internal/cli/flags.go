package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/config"
)

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "UNDERSTUDY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Collect adds the flags of settings. Those that are there, which are of one call, keep
// from now on what they do not accept, to be told together with everything else that is
// wrong.
func (o *Options) Collect() {
	o.Set.VisitAll(func(f *pflag.Flag) {
		f.Value = &collector{Value: f.Value, options: o, name: f.Name}
		f.DefValue = strings.TrimSuffix(f.DefValue, "[]") // help shows no empty list
	})
	config.Flags(o.Set, o.keys...)
}

// ReadEnvironment sets every flag of one call that was not given from its variable.
func (o *Options) ReadEnvironment() {
	o.Set.VisitAll(func(f *pflag.Flag) {
		c, ours := f.Value.(*collector)
		value, given := os.LookupEnv(variable(f.Name))
		if ours && given && !f.Changed {
			c.name = variable(f.Name)
			_ = o.Set.Set(f.Name, value)
		}
	})
}

// A collector is a flag's value that accepts everything and notes what is wrong.
type collector struct {
	pflag.Value
	options *Options
	name    string // of what was set: the flag or its variable
}

// OfOneCall reports whether a flag is no setting, but said of one call alone.
func OfOneCall(f *pflag.Flag) bool {
	_, is := f.Value.(*collector)
	return is
}

func (c *collector) Set(s string) error {
	if err := c.Value.Set(s); err != nil {
		switch c.Type() {
		case "int", "uint64":
			err = fmt.Errorf("%q must be a whole number", s)
		case "bool":
			err = fmt.Errorf("%q must be true or false", s)
		}
		c.options.Bad = append(c.options.Bad, fmt.Errorf("%s: %w", c.name, err))
	}
	return nil
}

type durationFlag time.Duration

func (d *durationFlag) Type() string   { return "duration" }
func (d *durationFlag) String() string { return time.Duration(*d).String() }

func (d *durationFlag) Set(s string) error {
	v, err := config.ParseDuration(s)
	if err == nil {
		*d = durationFlag(v)
	}
	return err
}

// unknownFlag says which flag may have been meant, or that it is not ours.
func unknownFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	if args := cmd.Flags().Args(); len(args) > 0 && strings.Contains(cmd.Use, "-- COMMAND") {
		return fmt.Errorf("%w: it stands after the command %q; write -- before that: %s [flags] -- %s ...", err, args[0], cmd.CommandPath(), args[0])
	}
	name := unknown.GetSpecifiedName()
	for _, k := range config.Keys() {
		if k.Secret && variable(name) == k.Variable() {
			return fmt.Errorf("--%s: a secret is given by no flag, which everybody sees; set %s, or name a file by --%s-file", name, k.Variable(), name)
		}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return fmt.Errorf("%w%s", err, config.DidYouMean(name, names))
}
