// Package backendsfx has each backend as a module of go.uber.org/fx. A module takes the
// backend's Config from the application and provides the lock.Locker:
//
//	fx.New(backendsfx.Etcd, fx.Supply(etcd.Config{Endpoints: endpoints}), ...)
//
// [Module] takes a backends.Config, which names the backend. A Config that is not
// valid fails the application's construction. The store is opened when the
// application starts, and closed when it stops, after everything that was constructed
// with the Locker; starting does not wait for it, but every call on the Locker does,
// within its context. Where opening fails that is logged, the calls say so, and the
// application is shut down with exit code 1. A *slog.Logger is used where there is one.
package backendsfx

import (
	"context"
	"log/slog"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/lock"
)

// The modules.
var (
	// Module takes a backends.Config.
	Module = module("backend", openAny)
	// Raft takes a raft.Config: this process becomes a voter of the group.
	Raft = module("raft", openRaft)
	// Etcd takes an etcd.Config.
	Etcd = module("etcd", openEtcd)
	// Consul takes a consul.Config.
	Consul = module("consul", openConsul)
	// Memory takes a *memory.Store, which applications of one process share.
	Memory = module("memory", openMemory)
)

// module provides the Locker that opens with what an opener of a C says.
func module[C any](name string, with opener[C]) fx.Option {
	return fx.Module(name, fx.Provide(func(p Params, c C) (Result, error) {
		open, err := with(c, p.Logger)
		if err != nil {
			return Result{}, err
		}
		l := newLater(open)
		p.Lifecycle.Append(p.hook(l))
		if named, ok := any(c).(backends.Config); ok && keeps[named.Backend] || keeps[name] {
			return Result{Locker: keeping{l}}, nil
		}
		return Result{Locker: l}, nil
	}))
}

// An opener checks a Config and says how the store is opened.
type opener[C any] func(c C, log *slog.Logger) (open func(context.Context) (lock.Locker, error), err error)

// Params are what every module takes from the application, beside its Config.
type Params struct {
	fx.In

	Lifecycle  fx.Lifecycle
	Shutdowner fx.Shutdowner
	Logger     *slog.Logger `optional:"true"`
}

// Result is what every module provides.
type Result struct {
	fx.Out

	Locker lock.Locker
}

// hook opens l in the background.
func (p Params) hook(l *later) fx.Hook {
	return fx.Hook{
		OnStart: func(context.Context) error {
			l.start(func(err error) {
				if p.Logger != nil {
					p.Logger.Error("open the store", "error", err)
				}
				_ = p.Shutdowner.Shutdown(fx.ExitCode(1)) // fails only where it was called before
			})
			return nil
		},
		OnStop: func(context.Context) error { return l.Close() },
	}
}

func openAny(c backends.Config, log *slog.Logger) (func(context.Context) (lock.Locker, error), error) {
	switch c.Backend {
	case "raft":
		return openRaft(c.Raft, log)
	case "etcd":
		return openEtcd(c.Etcd, log)
	case "consul":
		return openConsul(c.Consul, log)
	}
	return func(ctx context.Context) (lock.Locker, error) { return backends.Open(ctx, c) }, backends.Check(c.Backend)
}

func openRaft(c raft.Config, log *slog.Logger) (func(context.Context) (lock.Locker, error), error) {
	if c.Logger == nil {
		c.Logger = log
	}
	return func(ctx context.Context) (lock.Locker, error) { return raft.Open(ctx, c) }, c.Validate()
}

func openEtcd(c etcd.Config, log *slog.Logger) (func(context.Context) (lock.Locker, error), error) {
	if c.Logger == nil {
		c.Logger = log
	}
	return func(ctx context.Context) (lock.Locker, error) { return etcd.Open(ctx, c) }, c.Validate()
}

func openConsul(c consul.Config, log *slog.Logger) (func(context.Context) (lock.Locker, error), error) {
	if c.Logger == nil {
		c.Logger = log
	}
	return func(ctx context.Context) (lock.Locker, error) { return consul.Open(ctx, c) }, c.Validate()
}

func openMemory(s *memory.Store, _ *slog.Logger) (func(context.Context) (lock.Locker, error), error) {
	return func(context.Context) (lock.Locker, error) { return s.Open(), nil }, nil
}
