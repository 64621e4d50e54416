package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "UNDERSTUDY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// collect makes every flag keep what it does not accept, to be told together with
// everything else that is wrong. It comes after the last flag is defined.
func (o *options) collect() {
	o.set.VisitAll(func(f *pflag.Flag) {
		f.Value = &collector{Value: f.Value, options: o, name: f.Name}
		f.DefValue = strings.TrimSuffix(f.DefValue, "[]") // help shows no empty list
	})
}

// readEnvironment sets every flag that was not given from its variable.
func (o *options) readEnvironment() {
	o.set.VisitAll(func(f *pflag.Flag) {
		c, ours := f.Value.(*collector)
		value, given := os.LookupEnv(variable(f.Name))
		if ours && given && !f.Changed {
			c.name = variable(f.Name)
			_ = o.set.Set(f.Name, value)
		}
	})
}

// A collector is a flag's value that accepts everything and notes what is wrong.
type collector struct {
	pflag.Value
	options *options
	name    string // of what was set: the flag or its variable
}

func (c *collector) Set(s string) error {
	if err := c.Value.Set(s); err != nil {
		switch c.Type() {
		case "int":
			err = errors.New("must be a whole number")
		case "bool":
			err = errors.New("must be true or false")
		case "stringToString":
			err = errors.New("is no label; write KEY=VALUE")
		}
		c.options.bad = append(c.options.bad, fmt.Errorf("%s: %q %w", c.name, s, err))
	}
	return nil
}

type durationFlag time.Duration

// unitless is a number that lacks a unit.
var unitless = regexp.MustCompile(`^[0-9.]+$`)

func (d *durationFlag) Type() string { return "duration" }

func (d *durationFlag) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

func (d *durationFlag) Set(s string) error {
	v, err := time.ParseDuration(s)
	switch {
	case unitless.MatchString(s):
		return fmt.Errorf("has no unit; write %ss", s)
	case err != nil:
		return errors.New("is no duration; write it as 15s or 1m30s")
	case v <= 0:
		return errors.New("must be more than 0")
	}
	*d = durationFlag(v)
	return nil
}

// An offFlag is a duration of which 0 means never.
type offFlag time.Duration

func (d *offFlag) Type() string   { return "duration" }
func (d *offFlag) String() string { return (*durationFlag)(d).String() }

func (d *offFlag) Set(s string) error {
	if v, err := time.ParseDuration(s); err == nil && v == 0 {
		*d = -1
		return nil
	}
	return (*durationFlag)(d).Set(s)
}

// didYouMean names the word that is spelled most like the one given, if any is.
func didYouMean(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := levenshtein.Distance(strings.ToLower(word), k, nil); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// unknownFlag says which flag may have been meant.
func unknownFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return fmt.Errorf("%w%s", err, didYouMean(unknown.GetSpecifiedName(), names))
}
