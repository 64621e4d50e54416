package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/lock"
)

// ForContender completes c for a process that competes for roles, and says everything that is
// wrong. If there can be a witness, Coordinator.Witness is this program started again: its main
// calls witness.Main(backends.Beside) first.
func (c *Config) ForContender() error {
	err := errors.Join(c.completeRoles(), c.ForVoter(), c.checkElections(), c.checkRun(), c.checkEmpty("canary", c.Coordinator.Canary, "is not a directory; name one on the disk that the work needs, or leave it out"), c.checkEmpty("lockFile", c.Coordinator.LockFile, "is not a file; name one on a local disk, or leave it out"), c.completeAdmin())
	c.Coordinator.Roles, c.Coordinator.ExclusiveRoles = nil, nil
	for _, r := range c.Roles {
		c.Coordinator.Roles = append(c.Coordinator.Roles, lock.Bid{Role: r.Name, Priority: r.Priority})
		if !r.ActiveStandby {
			c.Coordinator.ExclusiveRoles = append(c.Coordinator.ExclusiveRoles, r.Name)
		}
	}
	if err == nil && c.NoWitness() == "" {
		c.Coordinator.Witness = witness.New(c.Store)
	}
	return err
}

// completeRoles makes a process's one role a list of roles.
func (c *Config) completeRoles() error {
	if c.Given("roles") {
		return c.checkRoles()
	}
	exit := c.onExit
	if exit == "" {
		exit = "exit"
	}
	c.Roles = []Role{{Name: c.role, Priority: c.priority, ActiveStandby: c.standby, OnLoss: c.onLoss, OnExit: exit, Warm: c.warm, OnActive: c.onActive, OnStandby: c.onStandby}}
	if c.role == "" && c.bad["role"] {
		return nil // the file was not read, or its flag is empty
	}
	if c.role == "" {
		return errors.New("role: none is given; write --role ROLE, set UNDERSTUDY_ROLE, or write role or roles in the file")
	}
	return c.checkName("role", c.role)
}

// checkName says what is wrong with the name that a key was set to.
func (c *Config) checkName(key, name string) error {
	return place(c.values[key].where, lock.CheckName("", name))
}

func (c *Config) checkRoles() error {
	var errs []error
	where := c.values["roles"].where
	if c.role != "" {
		errs = append(errs, fmt.Errorf("%s: role %q is given by %s too; give one of them", where, c.role, c.values["role"].origin))
	}
	if n := len(c.Roles); (n == 0 || n > MaxRoles) && !c.bad["roles"] {
		errs = append(errs, fmt.Errorf("%s: %d roles are given; give from 1 to %d", where, n, MaxRoles))
	}
	return errors.Join(errs...)
}

// ForVoter completes c for a process that carries the store and competes for nothing, and says
// everything that is wrong.
func (c *Config) ForVoter() error {
	var errs []error
	if c.Coordinator.ID == "" {
		host, err := os.Hostname()
		errs = append(errs, err)
		if c.Coordinator.ID = host; len(c.Roles) > 0 {
			c.Coordinator.ID = strings.TrimSuffix(host+"-"+c.Roles[0].Name, "-")
		}
	}
	c.Coordinator.Logger = c.logger()
	errs = append(errs, c.checkName("id", c.Coordinator.ID), place(c.values["address"].where, checkAddress(c.Coordinator.Address)),
		place(c.values["label"].where, lock.CheckLabels(c.Coordinator.Labels)), c.complete(), c.reach(c.Store.Row().Validate))
	return errors.Join(errs...)
}

// checkElections says why the store's own elections never fit the ttl.
func (c *Config) checkElections() error {
	if c.bad["backend"] || c.Coordinator.TTL < coordinator.MinTTL { // the timing follows from that
		return nil
	}
	_, err := c.Store.Row().Fits(c.Store, c.Coordinator.TTL, c.Coordinator.Outage())
	return c.Explain(c.news(err))
}

// SlowElections says that the store's own elections take longer than what the active rides out, so
// that it stops when the node dies that leads the store; "": they do not.
func (c *Config) SlowElections() string {
	text, _ := c.Store.Row().Fits(c.Store, c.Coordinator.TTL, c.Coordinator.Outage())
	return text
}

// checkRun says what is wrong with the settings that are the understudy command's alone.
func (c *Config) checkRun() error {
	var errs []error
	if d := c.Run.ConnectTimeout; d > 0 && d < minConnect {
		errs = append(errs, place(c.values["connectTimeout"].where, fmt.Errorf("%v must be at least %v; leave it out to wait as long as it takes", d, minConnect)))
	}
	for name, value := range map[string]string{"health": c.Run.Health, "fence": c.Run.Fence, "onActive": c.onActive, "onStandby": c.onStandby} {
		errs = append(errs, c.checkEmpty(name, value, "is not a command; write one, or leave it out"))
	}
	return errors.Join(errs...)
}

// checkEmpty refuses a setting that was given and says nothing, as where a script's variable is empty:
// who gave it counts on it.
func (c *Config) checkEmpty(name, value, cure string) error {
	if strings.TrimSpace(value) != "" || !c.Given(name) || c.bad[name] {
		return nil
	}
	return place(c.values[name].where, fmt.Errorf("%q %s", value, cure))
}

// minConnect is the shortest time in which a healthy store can be expected to answer.
const minConnect = 100 * time.Millisecond

// ForPlan completes c's times, and says what is wrong with them and with the settings of the store that were
// given. A plan needs no store, so nothing must be given. Where no roles are, Roles has one without a name.
func (c *Config) ForPlan() error {
	if !c.Given("roles") {
		c.Roles = []Role{{Warm: c.warm}}
	}
	return errors.Join(c.complete(), c.judge(c.Store.Row().ValidateFacts), c.judge(func(all backends.Config) error {
		return c.given(c.Store.Row().ValidateDial(all))
	}))
}

// given are the errors about at least one key that was given.
func (c *Config) given(err error) error {
	return errors.Join(slices.DeleteFunc(leaves(err), func(e error) bool {
		var field *lock.FieldError
		return !errors.As(e, &field) || !slices.ContainsFunc(field.Fields, func(f string) bool { return c.Given(c.keyOf(f)) })
	})...)
}

// complete fills in what follows from other settings.
func (c *Config) complete() error {
	c.Coordinator = c.Coordinator.Defaults()
	for _, s := range backends.Stores() {
		s.Join(&c.Store, c.Coordinator.ID, c.Coordinator.TTL, c.Coordinator.Logger)
	}
	return c.Explain(c.news(c.Coordinator.ValidateTimes()))
}

// ForClient says everything that is wrong with c for a process that only looks and asks.
func (c *Config) ForClient() error { return c.reach(c.Store.Row().ValidateDial) }

// Role is the role of a process that takes part in one, or is asked about it.
func (c *Config) Role() string { return c.role }

// judge is what is wrong with the store's settings, apart from what was reported when they were
// read.
func (c *Config) judge(wrong func(backends.Config) error) error {
	if c.bad["backend"] {
		return nil
	}
	err := c.Explain(c.news(wrong(c.Store)))
	if err != nil {
		err = errors.Join(c.anotherStore(byFile), err)
	}
	return err
}

// reach is what is wrong for a process that is to reach the store: a flag of another store would be overlooked, too.
func (c *Config) reach(wrong func(backends.Config) error) error {
	if err := c.judge(wrong); err != nil || c.bad["backend"] {
		return err
	}
	return c.anotherStore(byFlag)
}

// anotherStore says that settings of a store are given that is not chosen, where none is: by a source of this rank at
// least. Where there are other errors they are about the default one.
func (c *Config) anotherStore(least rank) error {
	if c.Given("backend") {
		return nil
	}
	for _, s := range backends.Stores() {
		for _, k := range Keys() {
			if strings.HasPrefix(k.Name, s.Name+".") && s.Name != c.Store.Row().Name && c.values[k.Name].rank >= least {
				return fmt.Errorf("%s: is %s by default, and %s is given; write --backend %s", c.values["backend"].where, c.Store.Row().Name, c.values[k.Name].where, s.Name)
			}
		}
	}
	return nil
}

// checkAddress refuses an advertised address that leads nowhere.
func checkAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if ip := net.ParseIP(host); address != "" && (host == "" || ip != nil && ip.IsUnspecified()) {
		return fmt.Errorf("%q: no other machine can reach that; write the one that clients dial", address)
	}
	return lock.CheckAddress(address)
}

// logger returns one that waits for no reader.
func (c *Config) logger() *slog.Logger {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(c.logLevel)) // an invalid level was reported already
	return slog.New(asynclog.New(asynclog.Lines(c.log, c.logFormat == "json", level, c.Explain)))
}
