package coordinatorfx

import (
	"context"
	"fmt"
	"log/slog"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// Module takes part in the one role of a coordinator.Config through a lock.Locker, both of which
// the application provides. It uses a provided *slog.Logger if Config.Logger is nil. It provides
// [Lifecycle]. A Config that is not valid, or does not name exactly one role, fails the
// application's construction. When coordinator.Run returns an error, it is logged and the
// application is shut down with exit code 1.
var Module = fx.Options(
	fx.Module("coordinator",
		fx.Provide(newHooks, newCampaign),
		fx.Provide(func(h *hooks) Result { return Result{Lifecycle: h} }),
	),
	fx.Invoke(func(*campaign) {}), // here, not in the module, whose invocations come before everything
)

// Params are what Module takes from the application.
type Params struct {
	fx.In

	Lifecycle  fx.Lifecycle
	Shutdowner fx.Shutdowner
	Locker     lock.Locker
	Config     coordinator.Config
	Services   []Service    `group:"coordinator.active"`
	Logger     *slog.Logger `optional:"true"`
}

// Result is what Module provides.
type Result struct {
	fx.Out

	Lifecycle Lifecycle
}

// A campaign is one application's part in its role.
type campaign struct {
	params Params
	hooks  *hooks
}

func newCampaign(p Params, h *hooks) (*campaign, error) {
	if p.Config.Logger == nil {
		p.Config.Logger = p.Logger
	}
	p.Config = p.Config.Defaults()
	if err := p.Config.Validate(); err != nil {
		return nil, err
	}
	if n := len(p.Config.Roles); n != 1 {
		return nil, fmt.Errorf("roles: %d given, but hooks and services belong to one; run an application for each", n)
	}
	c := &campaign{params: p, hooks: h}
	p.Lifecycle.Append(c.hook())
	return c, nil
}

// hook runs the campaign in the background. Its context is its own: the one of OnStart
// ends when the application has started.
func (c *campaign) hook() fx.Hook {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	return fx.Hook{
		OnStart: func(context.Context) error {
			go func() {
				defer close(done)
				c.run(ctx)
			}()
			return nil
		},
		OnStop: func(stop context.Context) error {
			cancel()
			select {
			case <-done:
				return nil
			case <-stop.Done():
				return fmt.Errorf("role %q has not been given back: %w", c.params.Config.Roles[0].Role, stop.Err())
			}
		},
	}
}

func (c *campaign) run(ctx context.Context) {
	err := coordinator.Run(ctx, c.params.Locker, c.params.Config, c.work)
	if err == nil { // told to
		return
	}
	c.params.Config.Logger.Error("coordinator", "role", c.params.Config.Roles[0].Role, "id", c.params.Config.ID, "error", err)
	if err := c.params.Shutdowner.Shutdown(fx.ExitCode(1)); err != nil {
		c.params.Config.Logger.Error("shutdown", "error", err)
	}
}
