package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// configFlag names the file.
const configFlag = "config"

// Flags adds to set a flag for every key, and --config for the file. With names, only
// for those keys, and those of sections so named ("etcd" is all of etcd.*); without,
// for every key that an embedder heeds. The flags accept any value: what is wrong with
// it is told by Load, with all else that is. A flag that set has already stays as it is,
// and the key has none.
func Flags(set *pflag.FlagSet, names ...string) {
	if set.Lookup(configFlag) == nil {
		set.String(configFlag, "", "a file of settings, in YAML")
	}
	for _, k := range Keys() {
		if k.Flag() == "" || !wanted(k, names) || set.Lookup(k.Flag()) != nil {
			continue
		}
		t := &text{kind: k.Type(), shown: k.Default}
		f := set.VarPF(t, k.Flag(), "", k.Usage)
		if t.kind == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// Own makes every flag that is in set now one of this call alone: it is no setting and stands in
// no file, but it has a variable, and Read tells what is wrong with it together with all else. A
// flag keeps its default until then.
func Own(set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		f.Value = &own{Value: f.Value}
		f.DefValue = strings.TrimSuffix(f.DefValue, "[]") // help shows no empty list
	})
}

// An own flag keeps what it was given until Read judges it.
type own struct {
	pflag.Value
	given []string
}

func (o *own) Set(s string) error {
	o.given = append(o.given, s)
	return nil
}

// IsOwn reports whether a flag is of one call alone.
func IsOwn(f *pflag.Flag) bool {
	_, is := f.Value.(*own)
	return is
}

// understand gives the flag what it was given, and says what is wrong with it.
func (o *own) understand(where string) error {
	var errs []error
	for _, text := range o.given {
		err := o.Value.Set(text)
		switch kind := o.Type(); {
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
	shown string // where it was not given
	parts []string
}

// Set takes any value. What may be given several times is added to.
func (t *text) Set(s string) error {
	if t.kind != "map" && t.kind != "list" {
		t.parts = nil
	}
	t.parts = append(t.parts, s)
	return nil
}

func (t *text) String() string {
	if t.parts == nil {
		return t.shown
	}
	return strings.Join(t.parts, ",")
}

func (t *text) Type() string { return t.kind }
