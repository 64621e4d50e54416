package coordinatorfx

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/coordinator"
)

// A Service runs while this process is active. Serve is called once for every term, beside those
// of other services and after the OnStart hooks of [Lifecycle], with a context that ends with the
// term (see coordinator.Work) and has it (coordinator.TermOf). It must return soon after. An
// error before the context has ended fails the term: the others are told to stop, and the role is
// competed for again after a pause. nil means that it has nothing more to do in this term; the
// others go on, and the role is held.
type Service interface {
	Serve(ctx context.Context) error
}

// AsActive makes a constructor's result a [Service] of the application, for fx.Provide.
func AsActive(constructor any, annotations ...fx.Annotation) any {
	return fx.Annotate(constructor, append(annotations, fx.As(new(Service)), fx.ResultTags(`group:"coordinator.active"`))...)
}

// work is one term: the hooks start, the services serve, the hooks stop.
func (c *campaign) work(ctx context.Context, _ coordinator.Term) error {
	ctx = context.WithValue(ctx, configKey{}, c.params.Config)
	started, err := c.hooks.start(ctx)
	if err == nil {
		err = c.serve(ctx)
	}
	return errors.Join(err, c.hooks.stop(ctx, started))
}

// serve runs the services until the term ends or one of them fails, and returns when
// all have returned.
func (c *campaign) serve(ctx context.Context) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	var once sync.Once
	var failure error
	for _, s := range c.params.Services {
		all.Go(func() {
			err := s.Serve(inner)
			if err != nil && inner.Err() == nil {
				once.Do(func() { failure = fmt.Errorf("service %T: %w", s, err) })
				cancel(err)
			}
		})
	}
	<-inner.Done()
	all.Wait()
	return failure
}

type configKey struct{}

// stopping is the context for stopping what belongs to a term, whose own context has ended. It
// lasts as long as the coordinator waits; see coordinator.Config.
func stopping(term context.Context) (context.Context, context.CancelFunc) {
	config, _ := term.Value(configKey{}).(coordinator.Config)
	patience := config.Grace
	if cause := context.Cause(term); cause == nil || coordinator.Asked(cause) {
		patience = config.StopTimeout
	}
	return context.WithTimeout(context.WithoutCancel(term), max(patience, time.Millisecond))
}
