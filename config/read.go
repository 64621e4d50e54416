package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/maps"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/internal/smallfile"
)

// Read reads settings without asking what they are for: ForContender, ForVoter or
// ForClient does that, and says what more is wrong. The Config is never nil: where the
// error names a key, that has its default.
func Read(s Source) (*Config, error) {
	if s.Environ == nil {
		s.Environ = os.Environ()
	}
	if s.Log == nil {
		s.Log = os.Stderr
	}
	r := &reader{
		Source: s, keys: index(), all: koanf.New("."), file: &file{},
		config: &Config{log: s.Log, values: map[string]value{}, bad: map[string]bool{}},
	}
	r.read()
	return r.config, errors.Join(r.errs...)
}

// A reader lays one source of settings over the other.
type reader struct {
	Source
	config *Config
	keys   map[string]Key
	all    *koanf.Koanf
	file   *file
	errs   []error
}

func (r *reader) bad(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

func (r *reader) read() {
	defaults := map[string]any{}
	for name, k := range r.keys {
		defaults[name] = []string{k.Default}
		if k.Default == "" {
			defaults[name] = []string(nil)
		}
	}
	r.lay(byDefault, confmap.Provider(defaults, "."), nil, func(string) string { return "default" })
	if !r.Ours {
		others, origins := r.others()
		r.lay(byOther, confmap.Provider(others, "."), nil, func(name string) string { return origins[name] })
	}
	if path := r.path(); path != "" {
		r.layFile(path)
	}
	r.lay(byVariable, env.Provider(".", env.Opt{Prefix: prefix, TransformFunc: r.ours, EnvironFunc: func() []string { return r.Environ }}), nil,
		func(name string) string { return r.keys[name].Variable() })
	if r.Flags != nil {
		r.lay(byFlag, posflag.ProviderWithFlag(r.Flags, ".", nil, r.flag), nil, func(name string) string { return "--" + r.keys[name].Flag() })
	}
	r.either("etcd.password", "etcd.passwordFile")
	r.either("consul.token", "consul.tokenFile")
	for _, k := range Keys() {
		r.understand(k)
	}
	r.roles()
	slices.SortStableFunc(r.file.bads, func(a, b bad) int { return a.line - b.line })
	for _, one := range r.file.bads {
		r.bad(one.err)
	}
}

// lay lays a source over those before it, and notes what came from there.
func (r *reader) lay(as rank, p koanf.Provider, parser koanf.Parser, origin func(name string) string) {
	err := r.all.Load(p, parser, koanf.WithMergeFunc(func(src, dest map[string]any) error {
		flat, _ := maps.Flatten(src, nil, ".")
		for name, parts := range flat {
			v := value{rank: as, origin: origin(name)}
			v.parts, _ = parts.([]string)
			if v.where = v.origin; as == byFlag {
				v.where = r.keys[name].Flag()
			}
			if as == byFile {
				v.where += ": " + name
			}
			r.config.values[name] = v
		}
		maps.Merge(src, dest)
		return nil
	}))
	r.bad(err)
}

// path is the file's name.
func (r *reader) path() string {
	if r.Flags != nil {
		if f := r.Flags.Lookup(configFlag); f != nil && f.Changed {
			return f.Value.String()
		}
	}
	return r.variable(variable(configFlag))
}

func (r *reader) layFile(path string) {
	text, err := smallfile.Read(path)
	if err != nil {
		r.bad(fmt.Errorf("config %q: %w", path, errors.Unwrap(err)))
		return
	}
	r.file = &file{path: path, keys: r.keys}
	r.lay(byFile, rawbytes.Provider(text), r.file, func(name string) string { return r.file.at(r.file.lines[name]) })
}

// variable is an environment variable's value.
func (r *reader) variable(name string) string {
	for _, v := range slices.Backward(r.Environ) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// ignored are variables of ours that are no settings: run gives its command the first,
// and the tests name the servers that they start by the others.
var ignored = []string{"UNDERSTUDY_TOKEN", "UNDERSTUDY_CONFIG", "UNDERSTUDY_ETCD", "UNDERSTUDY_CONSUL"}

// ours is the key of a variable that begins as ours do.
func (r *reader) ours(name, text string) (string, any) {
	var known []string
	for _, k := range r.keys {
		if k.Variable() == name {
			return k.Name, []string{text}
		}
		known = append(known, k.Variable())
	}
	if !slices.Contains(ignored, name) && (r.Known == nil || !r.Known(name)) {
		slices.Sort(known)
		r.config.Warnings = append(r.config.Warnings, name+": no setting has this variable, it is not heeded"+DidYouMean(name, known))
	}
	return "", nil
}

// flag is the key of a flag that was given.
func (r *reader) flag(f *pflag.Flag) (string, any) {
	t, ok := f.Value.(*text)
	if !ok || !f.Changed {
		return "", nil
	}
	for _, k := range r.keys {
		if k.Flag() == f.Name {
			return k.Name, t.parts
		}
	}
	return "", nil
}

// either leaves out the one of two keys that came from where less counts.
func (r *reader) either(one, other string) {
	a, b := r.config.values[one], r.config.values[other]
	if a.rank < b.rank {
		a, b, other = b, a, one
	}
	if a.text() != "" && a.rank > b.rank {
		r.config.values[other] = value{origin: "default"}
		r.bad(r.all.Load(confmap.Provider(map[string]any{other: []string(nil)}, "."), nil))
	}
}

// understand puts the value that counts where it belongs.
func (r *reader) understand(k Key) {
	v := r.config.values[k.Name]
	if v.parts, _ = r.all.Get(k.Name).([]string); len(v.parts) == 0 {
		return
	}
	var err error
	if k.Secret {
		v.parts[0], err = clientconf.Clean(v.text())
	}
	r.config.values[k.Name] = v
	err = errors.Join(err, oneOf(v.text(), k.OneOf))
	switch {
	case err != nil && k.Name == "backend":
		err = fmt.Errorf("%w%s", backends.Check(v.text()), DidYouMean(v.text(), k.OneOf))
		if v.rank == byFile || v.rank == byVariable {
			err = each(v.where+": ", err)
		}
	case err != nil:
		err = each(v.where+" ", err)
	default:
		to := k.to(r.config)
		if err = set(to, v); err == nil {
			return
		}
		if _, told := to.(*[]raft.Peer); told && v.rank == byFlag { // it names what it is about
			break
		}
		err = each(v.where+": ", err)
	}
	r.config.bad[k.Name] = true
	if v.rank == byFile {
		r.file.bads = append(r.file.bads, bad{r.file.lines[k.Name], err})
	} else {
		r.bad(err)
	}
	if k.Default != "" {
		_ = set(k.to(r.config), value{parts: []string{k.Default}}) // a default is a value
	}
}
