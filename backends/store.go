package backends

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A Store is a row of the table. Only Name, Settings and Open are required; the comments say what
// holds for the others when they are left out.
type Store struct {
	Name string

	// Settings returns a pointer to the store's part of c, a struct. Package config makes a
	// setting of every field with one of these tags, whose text is the setting's usage:
	//
	//	setting  of every process that reaches the store
	//	member   of processes that compete in it, not of those that only look and ask
	//	secret   as setting, but never given by a flag and never shown
	//	plan     of the understudy command's plan only
	//
	// The tag default is the value as it is written. Field PasswordFile of the store etcd is
	// etcd.passwordFile.
	Settings func(c *Config) any

	// Open opens the store for a process that competes in it, and Dial for one that only
	// looks, asks and raises. Without Dial such a process calls Open.
	Open, Dial func(ctx context.Context, c Config) (lock.Locker, error)

	// Validate says everything that is wrong with the settings for Open, and ValidateDial for
	// Dial. Without Validate every setting is valid; ValidateDial defaults to Validate.
	Validate, ValidateDial func(c Config) error

	// Join tells the settings which process they belong to. It changes only what they leave open.
	Join func(c *Config, id string, ttl time.Duration, log *slog.Logger)

	// Alone says why nobody can ask the store once this process is dead, so that a witness is
	// useless; "": others can. Without it others can.
	Alone func(c Config) string

	// Differs asks a store that knows its own members how they differ from the settings, and says
	// what that means; "": they do not. Without it nothing can differ.
	Differs func(ctx context.Context, c Config) string

	// Health asks the store's servers for their health. Without it their health is unknown.
	Health func(ctx context.Context, c Config) (Health, error)

	// Facts returns what is known of the store, for the understudy command's plan. try is how
	// long one call may take. ValidateFacts says what is wrong with the settings that it uses.
	Facts         func(ctx context.Context, c Config, try time.Duration) Facts
	ValidateFacts func(c Config) error

	// Fits says whether the elections of a store that the processes carry fit their ttl: in an error
	// where they never do, and in a warning where they take longer than the outage that an active
	// rides out.
	Fits func(c Config, ttl, outage time.Duration) (warning string, err error)

	// Servers returns how clients reach the store's servers by the settings in c, for programs
	// that measure or prove. A store that is not reached over a network has none.
	Servers func(c *Config) Servers

	Inside bool // the processes that compete in it carry it together: it has no servers
	Values bool // its Lockers keep values: they are a lock.Values
}

// Facts are what is known of a store. An empty field does not apply.
type Facts struct {
	Election time.Duration // how long writes wait when the store's leader dies
	Source   string        // where that figure is from
	Cure     string        // what else to change when it is too long

	// Takeover is how much longer a takeover takes at most when the process that died led the
	// store.
	Takeover time.Duration

	Unit    string // of the store's history, in the plural: a beat adds one
	History string // what happens to it
	Rights  string // the least that the store must allow its user

	More []Bound // anything else to know
}

// Servers is how a client reaches a store's servers. Its pointers and funcs belong to the Config
// that it came from.
type Servers struct {
	Addresses []string       // that are given
	Use       func([]string) // other addresses in their place
	One       bool           // a client uses one address only: its agent's
	TLS       bool
	Prefix    *string // of all keys, or of the names of rows or objects
	Dash      bool    // its parts have small letters alone, and are joined by dashes
	Dial      *func(ctx context.Context, network, address string) (net.Conn, error)
	Hand      func() (Hand, error) // on the records under Prefix
}

// Join is a Prefix of these parts.
func (s Servers) Join(parts ...string) string {
	if s.Dash {
		return strings.ToLower(strings.Join(parts, "-"))
	}
	return strings.Join(parts, "/")
}

// A Hand does to a store's records what a person can do with the store's own tools. It may also
// have methods RevokeLease, DeleteRole and Overwrite, as a *kv.Hand does.
type Hand interface {
	DeleteSession(ctx context.Context, id lock.SessionID) error // deletes its record
	Wipe(ctx context.Context) error                             // deletes everything
	Close() error
}

// A Bound is one line of plan: something that can happen, its limit, and the reason for that
// limit.
type Bound struct {
	What, Bound, Why string
	Most             time.Duration // that Bound names; 0: none
}

// Add puts a store into the table, for this whole program. Call it first in main, before
// witness.Main, or from an init. A name that is taken is a mistake in the program: Add panics.
func Add(s Store) {
	if slices.Contains(Names(), s.Name) {
		panic(fmt.Sprintf("backends: there are two stores %q", s.Name))
	}
	table = append(table, s.complete())
}

// SettingsOf returns the settings, a struct, of a store that was added. A row's Settings usually
// calls it.
func SettingsOf[S any](c *Config, name string) *S {
	s, ok := c.Added[name].(*S)
	if !ok {
		s = new(S)
		text, _ := json.Marshal(c.Added[name]) // nothing, or what a witness was given
		_ = json.Unmarshal(text, s)
		if c.Added == nil {
			c.Added = map[string]any{}
		}
		c.Added[name] = s
	}
	return s
}

// Stores returns the table, the default first.
func Stores() []Store { return slices.Clone(table) }

// Names returns the name of every store, the default first.
func Names() (all []string) {
	for _, s := range table {
		all = append(all, s.Name)
	}
	return all
}

// Row returns the row of the store that c names. None of its functions is nil. If there is no
// such store, Validate and Open say so.
func (c Config) Row() Store {
	for _, s := range table {
		if s.Name == c.Backend {
			return s
		}
	}
	unknown := fmt.Errorf("unknown backend %q (use one of %s)", c.Backend, strings.Join(Names(), ", "))
	return Store{
		Settings: func(*Config) any { return new(struct{}) },
		Open:     func(context.Context, Config) (lock.Locker, error) { return nil, unknown },
		Validate: func(Config) error { return unknown },
	}.complete()
}

// complete fills in the default for everything that was left out.
func (s Store) complete() Store {
	nothing := func(Config) error { return nil }
	if s.Validate == nil {
		s.Validate = nothing
	}
	if s.ValidateDial == nil {
		s.ValidateDial = s.Validate
	}
	if s.ValidateFacts == nil {
		s.ValidateFacts = nothing
	}
	if s.Fits == nil {
		s.Fits = func(Config, time.Duration, time.Duration) (string, error) { return "", nil }
	}
	if s.Dial == nil {
		s.Dial = s.Open
	}
	if s.Join == nil {
		s.Join = func(*Config, string, time.Duration, *slog.Logger) {}
	}
	if s.Alone == nil {
		s.Alone = func(Config) string { return "" }
	}
	if s.Differs == nil {
		s.Differs = func(context.Context, Config) string { return "" }
	}
	if s.Health == nil {
		s.Health = func(context.Context, Config) (Health, error) { return Health{}, nil }
	}
	if s.Facts == nil {
		s.Facts = func(context.Context, Config, time.Duration) Facts { return Facts{} }
	}
	return s
}
