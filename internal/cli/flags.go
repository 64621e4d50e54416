package cli

import (
	"errors"
	"fmt"
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

// Collect adds the flags of settings. Those already there are for one call only.
func (o *Options) Collect() {
	config.Own(o.Set)
	config.Flags(o.Set, o.keys...)
}

// Once has each flag of set, which takes one value, refused where it is given another one. Those of Collect are already.
func Once(set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) { f.Value = &once{Value: f.Value} })
}

type once struct {
	pflag.Value
	given *string
}

func (o *once) Set(s string) error {
	if o.given != nil && *o.given != s {
		return config.ErrTwice
	}
	o.given = &s
	return o.Value.Set(s)
}

// Output adds the flag -o.
func Output(set *pflag.FlagSet) *string {
	o := outputFlag("table")
	set.VarP(&o, "output", "o", "table or json")
	return (*string)(&o)
}

type outputFlag string

func (o *outputFlag) Type() string   { return "string" }
func (o *outputFlag) String() string { return string(*o) }

func (o *outputFlag) Set(s string) error {
	*o = outputFlag(s)
	return config.OneOf(s, "table", "json")
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
	var nothing *pflag.ValueRequiredError
	var instead *pflag.InvalidValueError
	switch {
	case errors.As(err, &nothing):
		name := nothing.GetFlag().Name
		return fmt.Errorf("%s: --%s has no value, and nothing follows it; is a variable empty? write a value, or leave out --%s", name, name, name)
	case errors.As(err, &instead) && errors.Is(err, config.ErrNoValue):
		name := instead.GetFlag().Name
		return fmt.Errorf("%s: --%s has no value, but %q follows it; is a variable empty? write a value, or leave out --%s", name, name, instead.GetValue(), name)
	case errors.As(err, &instead) && errors.Is(err, config.ErrTwice):
		name := instead.GetFlag().Name
		return fmt.Errorf("%s: --%s is given twice, the second time with %q, and takes one value; leave out all but one", name, name, instead.GetValue())
	case !errors.As(err, &unknown):
		return err
	}
	if args := cmd.Flags().Args(); len(args) > 0 && strings.Contains(cmd.Use, "-- COMMAND") {
		return fmt.Errorf("%w: it stands after the command %q; write -- before that: %s [flags] -- %s", err, args[0], cmd.CommandPath(), strings.Join(args, " "))
	}
	name := unknown.GetSpecifiedName()
	for _, k := range config.Keys() {
		if k.Secret && variable(name) == k.Variable() {
			return fmt.Errorf("--%s: a secret is given by no flag, which everybody sees; set %s, or name a file by --%s-file", name, k.Variable(), name)
		}
	}
	if name >= "0" && name <= "9" && strings.HasSuffix(cmd.Use, " N") {
		return fmt.Errorf("%w; write a negative number after two dashes: %s [flags] -- -%s", err, cmd.CommandPath(), name)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return fmt.Errorf("%w%s", err, config.DidYouMean("--"+name, names))
}
