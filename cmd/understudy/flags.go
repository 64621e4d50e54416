package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// options are what the flags of every subcommand say.
type options struct {
	set *pflag.FlagSet
	bad []error // of flags, told with everything else that is wrong

	backend string
	role    string
	config  coordinator.Config
	raft    raft.Config
	peers   string
	etcd    etcd.Config
	members string // etcd's endpoints
	consul  consul.Config

	peersErr error

	raftMultiplier int // Consul's

	priority      int
	labels        map[string]string
	anyRole       bool // none needs to be named
	connect       time.Duration
	activeStandby bool
	witness       bool
	health        string
	isolate       bool
	onLoss        string
	onExit        string
	stdin         bool
	output        string
	timeout       time.Duration
	logFormat     string
	logLevel      string
}

func newOptions(set *pflag.FlagSet) *options {
	o := &options{set: set}
	set.StringVar(&o.backend, "backend", backends.Names()[0], "the store: "+strings.Join(backends.Names(), ", "))
	return o
}

func (o *options) roleFlag() {
	o.set.StringVar(&o.role, "role", "", "the role: what one process at a time may do")
}

func (o *options) timeFlags() {
	o.duration(&o.config.TTL, "ttl", 10*time.Second, "how long a silent active is waited for: 100ms to 12h")
	o.duration(&o.config.Grace, "grace", 0, "for the command to stop after a loss (default ttl/5, at most 2s)")
	o.duration(&o.config.Skew, "skew", 0, "of ttl, for differing clocks and killing (default ttl/100 + min(50ms, ttl/10))")
	o.duration(&o.config.StopTimeout, "stop-timeout", 30*time.Second, "for the command to stop when that was asked for")
}

func (o *options) logFlags() {
	o.set.StringVar(&o.logFormat, "log-format", "text", "text or json")
	o.set.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
}

// storeFlags say how the store is reached, by whomever.
func (o *options) storeFlags() {
	o.set.StringVar(&o.members, "etcd-endpoints", "", "every member: HOST:PORT or https://HOST:PORT,...")
	o.set.StringVar(&o.etcd.Prefix, "etcd-prefix", "", "of all keys (default understudy/)")
	o.set.StringVar(&o.etcd.Username, "etcd-username", "", "the user, where it is not a certificate's")
	o.set.StringVar(&o.etcd.PasswordFile, "etcd-password-file", "", "the user's password, for nobody else to read")
	o.set.StringVar(&o.etcd.CAFile, "etcd-ca-file", "", "authorities that sign etcd's certificates")
	o.set.StringVar(&o.etcd.CertFile, "etcd-cert-file", "", "our certificate")
	o.set.StringVar(&o.etcd.KeyFile, "etcd-key-file", "", "its key")
	o.set.StringVar(&o.consul.Address, "consul-address", "", "the agent: HOST:PORT or https://HOST:PORT (default 127.0.0.1:8500)")
	o.set.StringVar(&o.consul.Prefix, "consul-prefix", "", "of all keys (default understudy/)")
	o.set.StringVar(&o.consul.Datacenter, "consul-datacenter", "", "the datacenter (default the agent's)")
	o.set.StringVar(&o.consul.TokenFile, "consul-token-file", "", "the ACL token, for nobody else to read")
	o.set.StringVar(&o.consul.CAFile, "consul-ca-file", "", "authorities that sign Consul's certificates")
	o.set.StringVar(&o.consul.CertFile, "consul-cert-file", "", "our certificate")
	o.set.StringVar(&o.consul.KeyFile, "consul-key-file", "", "its key")
	o.set.StringVar(&o.peers, "raft-peers", "", "every node of the group, the same on each: ID=HOST:PORT,...")
	o.set.StringVar(&o.raft.CAFile, "raft-ca-file", "", "the group's certificate authority, which signs for nothing else")
	o.set.StringVar(&o.raft.CertFile, "raft-cert-file", "", "this node's certificate, with its ID as a DNS name")
	o.set.StringVar(&o.raft.KeyFile, "raft-key-file", "", "its key")
}

func (o *options) nodeFlags() {
	o.storeFlags()
	o.set.StringVar(&o.config.ID, "id", "", "this contender; with raft a name in --raft-peers (default HOST-ROLE)")
	o.set.StringVar(&o.raft.Dir, "raft-dir", "", "this node's data")
	o.set.StringVar(&o.raft.Bind, "raft-bind", "", "HOST:PORT to listen on (default the node's address in --raft-peers)")
	o.duration(&o.raft.Timing, "raft-timing", 0, "Raft's heartbeat timeout, the same on every node (default ttl/10, within 50ms and 1s)")
}

// duration is a flag for a time, which is never zero where it is given.
func (o *options) duration(to *time.Duration, name string, value time.Duration, usage string) {
	*to = value
	o.set.Var((*durationFlag)(to), name, usage)
}

// durationOrOff is a flag for a time that 0 switches off, which is -1 then.
func (o *options) durationOrOff(to *time.Duration, name, usage string) {
	o.set.Var((*offFlag)(to), name, usage)
}

// finish reads the environment, completes what has a default that depends on
// something else, and returns all that is wrong.
func (o *options) finish() error {
	o.readEnvironment()
	errs := o.bad
	if err := backends.Check(o.backend); err != nil {
		errs = append(errs, fmt.Errorf("%w%s", err, didYouMean(o.backend, backends.Names())))
	}
	if o.set.Lookup("role") != nil && !o.anyRole {
		errs = append(errs, lock.CheckName("role", o.role))
	}
	if o.peers != "" {
		o.raft.Peers, o.peersErr = raft.ParsePeers(o.peers)
	}
	o.etcd.Endpoints = etcd.ParseEndpoints(o.members)
	if o.set.Lookup("log-format") != nil {
		errs = append(errs, oneOf("log-format", o.logFormat, "text", "json"), o.level().err)
	}
	if o.set.Lookup("output") != nil {
		errs = append(errs, oneOf("output", o.output, "table", "json"))
	}
	return errors.Join(errs...)
}

// finishNode is finish for a node: its ID, times and store.
func (o *options) finishNode(log io.Writer) error {
	errs := []error{o.finish()}
	if o.config.ID == "" {
		host, err := os.Hostname()
		errs = append(errs, err)
		o.config.ID = strings.TrimSuffix(host+"-"+o.role, "-") // a voter has no role
	}
	o.config.Roles = []lock.Bid{{Role: o.role, Priority: o.priority}}
	o.config.Labels, o.config.Exclusive = o.labels, !o.activeStandby
	o.config = o.config.Defaults()
	errs = append(errs, lock.CheckName("id", o.config.ID), checkAddress(o.config.Address), o.config.ValidateTimes())
	o.config.Logger = o.logger(log)
	if o.raft.Timing == 0 {
		o.raft.Timing = raft.TimingFor(o.config.TTL)
	}
	o.raft.ID, o.raft.Logger = o.config.ID, o.config.Logger
	return errors.Join(append(errs, o.checkStore(raft.Config.Validate))...)
}

// checkStore is what is wrong with the settings of the store that is chosen.
func (o *options) checkStore(group func(raft.Config) error) error {
	switch o.backend {
	case "raft":
		return o.raftErrors(group)
	case "etcd":
		return o.etcd.Validate()
	case "consul":
		return o.consul.Validate()
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
		return fmt.Errorf("address %q: no other machine can reach that; write the one that clients dial", address)
	}
	return nil
}

// finishClient is finish for a command that only looks and asks.
func (o *options) finishClient() error {
	errs := []error{o.finish(), o.checkStore(raft.Config.ValidatePeers)}
	if o.backend == "memory" {
		errs = append(errs, fmt.Errorf("backend %q: lives in the process that runs it, nobody else can ask it; use another", o.backend))
	}
	return errors.Join(errs...)
}

// raftErrors is what is wrong with the list of peers, and with all else.
func (o *options) raftErrors(validate func(raft.Config) error) error {
	c := o.raft
	if o.peersErr != nil { // told already: let the rest be judged without it
		c.Peers = []raft.Peer{{ID: c.ID, Address: "127.0.0.1:1"}}
	}
	return errors.Join(o.peersErr, validate(c))
}

func (o *options) open() backends.Config {
	return backends.Config{Backend: o.backend, Raft: o.raft, Etcd: o.etcd, Consul: o.consul}
}

// ask does something at the store as one who only looks and asks, within the
// timeout.
func (o *options) ask(ctx context.Context, do func(context.Context, lock.Locker) error) error {
	if err := o.finishClient(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	l, err := backends.Dial(ctx, o.open())
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, l), l.Close())
}

type levelOrError struct {
	level slog.Level
	err   error
}

func (o *options) level() (l levelOrError) {
	if err := l.level.UnmarshalText([]byte(o.logLevel)); err != nil {
		l.err = fmt.Errorf("log-level %q: must be debug, info, warn or error", o.logLevel)
	}
	return l
}

func (o *options) logger(to io.Writer) *slog.Logger {
	how := &slog.HandlerOptions{Level: o.level().level}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, how))
	}
	return slog.New(slog.NewTextHandler(to, how))
}

func oneOf(name, value string, all ...string) error {
	for _, one := range all {
		if value == one {
			return nil
		}
	}
	return fmt.Errorf("%s %q: must be one of %s", name, value, strings.Join(all, ", "))
}
