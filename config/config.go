package config

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/admin"
	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// A Config is the result of the settings. Its exported fields may be changed before they are
// used: to use a logger of your own, set Coordinator.Logger and those of Store.
type Config struct {
	Coordinator coordinator.Config // for coordinator.Run, with its roles, logger and witness
	Store       backends.Config
	Roles       []Role // of Coordinator, with what the understudy command does about each
	Run         Run
	Admin       admin.Config // where the process is shown; pass Coordinator.Monitor to admin.Listen
	Witness     bool         // wanted; see NoWitness

	// Warnings are what was ignored, a line each: unknown variables that begin with UNDERSTUDY_,
	// and variables of other tools that have no meaning here. The caller logs them.
	Warnings []string

	role, onLoss, onExit, onActive, onStandby, warm, logFormat, logLevel string
	priority                                                             int
	standby                                                              bool

	log    io.Writer
	values map[string]value // by the key's name
	bad    map[string]bool  // keys whose value is not valid
}

// A Role is a role that the process takes part in. What it leaves out is as for the whole
// process.
type Role struct {
	Name          string
	Command       []string // its program and arguments; none: the understudy command does not do the work
	Priority      int      // the greatest takes over first
	ActiveStandby bool     // stand by; false ends the process beside a living active
	OnLoss        string   // standby or exit
	OnExit        string   // exit or restart
	Warm          string   // off, idle or restart
	OnActive      string   // a shell command beside each term's; "": none
	OnStandby     string   // a shell command after each term's; "": none
}

// Run are the settings that only the understudy command's run uses.
type Run struct {
	ConnectTimeout time.Duration // 0: wait without limit
	Health, Fence  string        // shell commands; "": none
	EndpointSlice  string        // of Kubernetes; "": none
	Stdin, Isolate bool
}

// A Source says where settings are read from. The zero Source is the environment, and the file
// that UNDERSTUDY_CONFIG names.
type Source struct {
	Flags   *pflag.FlagSet // with those added by Flags, already parsed; nil: no flags
	Environ []string       // nil: os.Environ()
	Log     io.Writer      // of Coordinator.Logger; nil: os.Stderr
	Ours    bool           // ignore the variables of etcdctl and consul

	// Known reports whether a variable that begins with UNDERSTUDY_ is the program's own, and
	// deserves no warning. nil: none is.
	Known func(variable string) bool
}

// Load reads the settings of a process that takes part, from the flags (nil: none), the
// environment and the file. Its error says everything that is wrong, a line each; if there is one
// the Config is nil.
func Load(flags *pflag.FlagSet) (*Config, error) {
	c, err := Read(Source{Flags: flags})
	if err = errors.Join(err, c.ForContender()); err != nil {
		return nil, err
	}
	return c, nil
}

// Open opens the store for a process that takes part. See backends.Open, and Explain for errors.
func (c *Config) Open(ctx context.Context) (lock.Locker, error) {
	l, err := backends.Open(ctx, c.Store)
	return l, c.Explain(err)
}

// Dial opens the store for a process that only looks and asks. See backends.Dial, and Explain.
func (c *Config) Dial(ctx context.Context) (lock.Locker, error) {
	l, err := backends.Dial(ctx, c.Store)
	return l, c.Explain(err)
}

// NoWitness says why there is no witness, or "".
func (c *Config) NoWitness() string {
	if !c.Witness {
		return "--witness=false"
	}
	return c.Store.Row().Alone(c.Store)
}

// A Value is what a key was set to.
type Value struct {
	Key    Key
	Text   string // as it is written in a file; a secret is "(redacted)"
	Origin string // default, FILE:LINE, a variable, or --FLAG
}

// Values returns the value of every key, in the order of Keys.
func (c *Config) Values() []Value {
	var all []Value
	for _, k := range Keys() {
		all = append(all, Value{k, c.text(k), c.values[k.Name].origin})
	}
	return all
}

// text is a key's effective value, or the given text if that is not valid.
func (c *Config) text(k Key) string {
	switch text := format(k.to(c)); {
	case k.Secret && text != "":
		return "(redacted)"
	case c.bad[k.Name]:
		return scalar(c.values[k.Name].text())
	case k.Type() == "roles" && !c.Given(k.Name): // one without a name stands for the process's
		return ""
	case k.Type() == "roles":
		return text
	default:
		return scalar(text)
	}
}

// Given reports whether a key was set by a flag, a variable of ours, or the file.
func (c *Config) Given(name string) bool { return c.values[name].rank > byOther }
