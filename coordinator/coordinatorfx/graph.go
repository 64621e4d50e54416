package coordinatorfx

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/coordinator"
)

// A Graph is a [Service] that constructs everything anew for every term, as an fx
// application of its own: no cache outlives the term in which it was filled. It returns
// the application's options; the term is supplied to it. To take something from
// the outer application, provide a constructor that takes it and returns a Graph:
//
//	fx.Provide(coordinatorfx.AsActive(func(db *sql.DB) coordinatorfx.Graph {
//		return func(coordinator.Term) fx.Option {
//			return fx.Options(fx.Supply(db), fx.Provide(NewCache), fx.Invoke(Serve))
//		}
//	}))
//
// The inner application's fx.Lifecycle is started with the term and stopped with it, as
// the hooks of [Lifecycle] are. Its fx.Shutdowner fails the term. It handles no signals and logs nothing, unless
// the options have an fx.WithLogger.
type Graph func(term coordinator.Term) fx.Option

// Serve runs one term's application.
func (g Graph) Serve(ctx context.Context) error {
	term, _ := coordinator.TermOf(ctx)
	h, down := newHooks(), &shutdown{done: make(chan struct{})}
	app := fx.New(fx.NopLogger, fx.Supply(term), g(term),
		fx.Decorate(func(fx.Lifecycle) fx.Lifecycle { return h }),
		fx.Decorate(func(fx.Shutdowner) fx.Shutdowner { return down }),
	)
	if err := app.Err(); err != nil {
		return fmt.Errorf("construct: %w", err)
	}
	started, err := h.start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
		case <-down.done:
			err = errShutdown
		}
	}
	return errors.Join(err, h.stop(ctx, started))
}

// A shutdown is the Shutdowner of one term's application.
type shutdown struct {
	once sync.Once
	done chan struct{}
}

var errShutdown = errors.New("the term's application shut itself down")

func (s *shutdown) Shutdown(...fx.ShutdownOption) error {
	s.once.Do(func() { close(s.done) })
	return nil
}
