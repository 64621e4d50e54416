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
	"github.com/understudy-ha/understudy/backends/kubernetes"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/backends/nats"
	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/backends/s3"
	"github.com/understudy-ha/understudy/lock"
)

// The modules.
var (
	// Module takes a backends.Config.
	Module = fx.Module("backend", fx.Provide(provide))
	// Raft takes a raft.Config: this process becomes a voter of the group.
	Raft = module(func(c raft.Config) backends.Config { return backends.Config{Backend: "raft", Raft: c} })
	// Etcd takes an etcd.Config.
	Etcd = module(func(c etcd.Config) backends.Config { return backends.Config{Backend: "etcd", Etcd: c} })
	// Consul takes a consul.Config.
	Consul = module(func(c consul.Config) backends.Config { return backends.Config{Backend: "consul", Consul: c} })
	// Postgres takes a postgres.Config.
	Postgres = module(func(c postgres.Config) backends.Config { return backends.Config{Backend: "postgres", Postgres: c} })
	// Kubernetes takes a kubernetes.Config.
	Kubernetes = module(func(c kubernetes.Config) backends.Config {
		return backends.Config{Backend: "kubernetes", Kubernetes: c}
	})
	// NATS takes a nats.Config.
	NATS = module(func(c nats.Config) backends.Config { return backends.Config{Backend: "nats", NATS: c} })
	// S3 takes an s3.Config.
	S3 = module(func(c s3.Config) backends.Config { return backends.Config{Backend: "s3", S3: c} })
	// Memory takes a *memory.Store, which applications of one process share.
	Memory = fx.Module("memory", fx.Provide(func(p Params, s *memory.Store) Result {
		return p.open(true, func(context.Context) (lock.Locker, error) { return s.Open(), nil })
	}))
)

// module provides the Locker of the store that a C is the settings of.
func module[C any](of func(C) backends.Config) fx.Option {
	return fx.Module(of(*new(C)).Backend, fx.Provide(func(p Params, c C) (Result, error) { return provide(p, of(c)) }))
}

func provide(p Params, c backends.Config) (Result, error) {
	store := c.Row()
	store.Join(&c, "", 0, p.Logger)
	if err := store.Validate(c); err != nil {
		return Result{}, err
	}
	return p.open(store.Values, func(ctx context.Context) (lock.Locker, error) { return store.Open(ctx, c) }), nil
}

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

// open provides a Locker that is opened when the application starts. values says whether it
// keeps values.
func (p Params) open(values bool, open func(context.Context) (lock.Locker, error)) Result {
	l := newLater(open)
	p.Lifecycle.Append(p.hook(l))
	if values {
		return Result{Locker: keeping{l}}
	}
	return Result{Locker: l}
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
