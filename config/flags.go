package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// configFlag names the file.
const configFlag = "config"

// Flags adds a flag to set for every key, and --config for the file. With names, only for those
// keys, and those of sections so named ("etcd" is all of etcd.*); without, for every key that an
// embedder uses. The flags accept any value: Load reports what is wrong with it, together with
// everything else. But one that takes one value is refused where it is given another one. A flag that set already has
// stays as it is, and the key gets none.
func Flags(set *pflag.FlagSet, names ...string) {
	if set.Lookup(configFlag) == nil {
		set.Var(&text{kind: "string", set: set}, configFlag, "a file of settings, in YAML")
	}
	for _, k := range keys() {
		if k.Flag() == "" || !wanted(k, names) || set.Lookup(k.Flag()) != nil {
			continue
		}
		t := &text{kind: k.Type(), shown: k.Default, set: set}
		f := set.VarPF(t, k.Flag(), "", k.Usage)
		if f.NoOptDefVal = k.alone; t.kind == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// Own makes every flag that is in set now one for this call only: it is not a setting and cannot
// be in a file, but it has a variable, and Read reports what is wrong with it together with
// everything else. A flag keeps its default until then.
func Own(set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		f.Value = &own{Value: f.Value, set: set}
		f.DefValue = strings.TrimSuffix(f.DefValue, "[]") // help shows no empty list
	})
}

// An own flag keeps its text until Read checks it.
type own struct {
	pflag.Value
	set   *pflag.FlagSet
	given []string
}

func (o *own) Set(s string) error {
	if _, several := o.Value.(pflag.SliceValue); !several {
		if len(o.given) > 0 && o.given[0] != s {
			return ErrTwice
		}
		o.given = nil
	}
	o.given = append(o.given, s)
	return valueOf(o.set, s)
}

// ErrTwice means that a flag that takes one value was given before with another one: which one is meant nobody can
// say. The same value again is nothing: completion parses a command line twice.
var ErrTwice = errors.New("given twice")

// ErrNoValue means that a flag was given no value, but is followed by the next flag, or by the two dashes
// before a command: so it is where a script's variable is empty.
var ErrNoValue = errors.New("no value")

// valueOf refuses the next flag as a value.
func valueOf(set *pflag.FlagSet, s string) error {
	name, dashed := strings.CutPrefix(s, "--")
	name, _, _ = strings.Cut(name, "=")
	if dashed && (name == "" || set.Lookup(name) != nil) {
		return ErrNoValue
	}
	return nil
}

// errEmpty refuses a value that was given and says nothing, as where a script's variable is empty. Left out
// it would mean something else.
func (r rank) errEmpty(flag string) error {
	cure := map[rank]string{byFlag: "leave out --" + flag, byVariable: "unset it", byFile: "leave the key out"}[r]
	return errors.New("is empty; write a value, or " + cure)
}

// IsOwn reports whether a flag is for one call only.
func IsOwn(f *pflag.Flag) bool {
	_, is := f.Value.(*own)
	return is
}

// understand sets the flag to its text, and says what is wrong with it.
func (o *own) understand(where string, from rank) error {
	var errs []error
	for _, text := range o.given {
		err := o.Value.Set(text)
		switch kind := o.Type(); {
		case err == nil && kind == "string" && text == "":
			err = from.errEmpty(where)
		case err == nil:
		case kind == "int":
			err = fmt.Errorf("%q must be a whole number", text)
		case kind == "uint64":
			err = fmt.Errorf("%q must be a whole number, and not less than 0", text)
		case kind == "bool":
			err = fmt.Errorf("%q must be true or false", text)
		}
		errs = append(errs, place(where, err))
	}
	o.given = nil
	return errors.Join(errs...)
}

func wanted(k Key, names []string) bool {
	for _, name := range names {
		if k.Name == name || strings.HasPrefix(k.Name, name+".") {
			return true
		}
	}
	return len(names) == 0 && !k.Command
}

// A text is a flag's value as it was given.
type text struct {
	kind  string // see Key.Type
	shown string // if it was not given
	set   *pflag.FlagSet
	parts []string
}

// Set takes any value but the next flag. A flag that may be repeated collects them.
func (t *text) Set(s string) error {
	if t.kind != "map" && t.kind != "list" {
		if len(t.parts) > 0 && t.parts[0] != s {
			return ErrTwice
		}
		t.parts = nil
	}
	t.parts = append(t.parts, s)
	return valueOf(t.set, s)
}

func (t *text) String() string {
	if t.parts == nil {
		return t.shown
	}
	return strings.Join(t.parts, ",")
}

func (t *text) Type() string { return t.kind }
