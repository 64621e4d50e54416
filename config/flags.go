package config

import (
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
