package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/internal/smallfile"
)

// Read reads settings without checking them for a purpose: ForContender, ForVoter or ForClient
// does that, and reports what else is wrong. The Config is never nil: a key named in the error
// has its default.
func Read(s Source) (*Config, error) {
	if s.Environ == nil {
		s.Environ = os.Environ()
	}
	if s.Log == nil {
		s.Log = os.Stderr
	}
	r := &reader{
		Source: s, keys: index(), file: &file{},
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
	file   *file
	errs   []error
}

func (r *reader) bad(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// read takes the sources in the order of their ranks: the last one wins.
func (r *reader) read() {
	for name, k := range r.keys {
		r.config.values[name] = byDefaultOf(k)
	}
	if !r.Ours {
		r.others()
	}
	r.readFile()
	for _, v := range r.Environ {
		if name, text, _ := strings.Cut(v, "="); strings.HasPrefix(name, prefix) {
			r.ours(name, text)
		}
	}
	if r.Flags != nil {
		r.Flags.VisitAll(r.flag)
	}
	for name := range r.keys {
		if file := name + "File"; r.keys[file].Name != "" {
			r.either(name, file)
		}
	}
	for _, k := range keys() {
		r.understand(k)
	}
	r.roles()
	slices.SortStableFunc(r.file.bads, func(a, b bad) int { return a.line - b.line })
	for _, one := range r.file.bads {
		r.bad(one.err)
	}
}

// byDefaultOf is the value of a key that nobody sets.
func byDefaultOf(k Key) value {
	v := value{origin: "default", where: k.dashes}
	if k.Secret {
		v.where = k.Variable()
	}
	if k.Default != "" {
		v.parts = []string{k.Default}
	}
	return v
}

// set lays a value over the one before.
func (r *reader) set(key string, v value) { r.config.values[key] = v }

// readFile reads the file, if one is named.
func (r *reader) readFile() {
	path := r.path()
	if path == "" {
		return
	}
	text, err := smallfile.Read(path)
	if err != nil {
		r.unread(fmt.Errorf("config %q: %w", path, errors.Unwrap(err)))
		return
	}
	r.file = &file{path: path, keys: r.keys, broken: map[string]int{}}
	values, err := r.file.parse(text)
	if err != nil {
		r.unread(err)
		return
	}
	for key, parts := range values {
		at := r.file.at(r.file.lines[key])
		r.set(key, value{parts: parts, rank: byFile, origin: at, where: at + ": " + key})
	}
	for key, line := range r.file.broken { // given, and not missing
		at := r.file.at(line)
		r.set(key, value{rank: byFile, origin: at, where: at + ": " + key})
		r.config.bad[key] = true
	}
}

// unread notes that nothing of the file could be read. What else seems to be wrong may be cured there.
func (r *reader) unread(err error) {
	r.bad(&unreadError{err})
	for name := range r.keys {
		r.config.bad[name] = true
	}
}

// An unreadError says why the file of settings cannot be read.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return e.err.Error() }
func (e *unreadError) Unwrap() error { return e.err }

// IsUnread reports whether err, which Read returned, is that the file cannot be read, or is not a
// file of settings. It may hold what else seems to be missing.
func IsUnread(err error) bool {
	var unread *unreadError
	return errors.As(err, &unread)
}

// path is the file's name.
func (r *reader) path() string {
	if r.Flags != nil {
		if f := r.Flags.Lookup(configFlag); f != nil && f.Changed {
			if f.Value.String() == "" {
				r.bad(errors.New("config: is empty; name a file, or leave out --config"))
			}
			return f.Value.String()
		}
	}
	path, set := r.lookup(variable(configFlag))
	if set && path == "" {
		r.bad(fmt.Errorf("%s: is empty; name a file, or unset it", variable(configFlag)))
	}
	return path
}

// variable is an environment variable's value.
func (r *reader) variable(name string) string {
	value, _ := r.lookup(name)
	return value
}

// lookup is the same, and whether the variable is set.
func (r *reader) lookup(name string) (value string, set bool) {
	for _, v := range slices.Backward(r.Environ) {
		if value, set = strings.CutPrefix(v, name+"="); set {
			return value, true
		}
	}
	return "", false
}

// ignored are variables of ours that are not settings: run gives the first four to its command,
// and tests name the servers that they start by the others.
var ignored = []string{"UNDERSTUDY_TOKEN", "UNDERSTUDY_CAUSE", "UNDERSTUDY_SOCKET", "UNDERSTUDY_PAGE", "UNDERSTUDY_CONFIG", "UNDERSTUDY_ETCD", "UNDERSTUDY_CONSUL", "UNDERSTUDY_POSTGRES", "UNDERSTUDY_KUBE_APISERVER", "UNDERSTUDY_KUBE_CONTROLLER_MANAGER", "UNDERSTUDY_KUBE_SCHEDULER", "UNDERSTUDY_NATS_SERVER", "UNDERSTUDY_VERSITYGW", "UNDERSTUDY_BASELINE_PROGRAM"}

// ours takes a variable that begins with our prefix.
func (r *reader) ours(name, text string) {
	var known []string
	for _, k := range r.keys {
		if k.Variable() == name {
			r.set(k.Name, value{parts: []string{text}, rank: byVariable, origin: name, where: name})
			return
		}
		known = append(known, k.Variable())
	}
	if !slices.Contains(ignored, name) && (r.Known == nil || !r.Known(name)) {
		slices.Sort(known)
		r.config.Warnings = append(r.config.Warnings, name+": no setting has this variable; it is ignored"+DidYouMean(name, known))
	}
}

// flag takes a flag, if it was given. A flag for one call only may be given by its variable.
func (r *reader) flag(f *pflag.Flag) {
	switch of := f.Value.(type) {
	case *own:
		where, rank := f.Name, byFlag
		if text, set := r.lookup(variable(f.Name)); set && !f.Changed {
			where, rank, of.given, f.Changed = variable(f.Name), byVariable, []string{text}, true
		}
		r.bad(of.understand(where, rank))
	case *text:
		for _, k := range r.keys {
			if f.Changed && k.Flag() == f.Name {
				r.set(k.Name, value{parts: of.parts, rank: byFlag, origin: "--" + f.Name, where: f.Name})
			}
		}
	}
}

// either drops the one of a secret and its file that comes from the weaker source.
func (r *reader) either(one, other string) {
	a, b := r.config.values[one], r.config.values[other]
	if a.rank < b.rank {
		a, b, other = b, a, one
	}
	if a.text() != "" && a.rank > b.rank {
		r.set(other, byDefaultOf(r.keys[other]))
	}
}

// understand puts the value that counts where it belongs.
func (r *reader) understand(k Key) {
	v := r.config.values[k.Name]
	if len(v.parts) == 0 {
		return
	}
	var err error
	if k.Secret {
		v.parts[0], err = clientconf.Clean(v.text())
	}
	if kind := k.Type(); err == nil && v.rank >= byFile && v.text() == "" && (kind == "string" || kind == "list") {
		err = v.rank.errEmpty(k.Flag())
	}
	if err == nil {
		err = OneOf(v.text(), k.OneOf...)
	}
	if err == nil {
		err = set(k.to(r.config), v)
	}
	if err == nil {
		return
	}
	r.config.bad[k.Name] = true
	if err = place(v.where, err); v.rank == byFile {
		r.file.bads = append(r.file.bads, bad{r.file.lines[k.Name], err})
	} else {
		r.bad(err)
	}
	if k.Default != "" {
		_ = set(k.to(r.config), value{parts: []string{k.Default}}) // a default is a value
	}
}
