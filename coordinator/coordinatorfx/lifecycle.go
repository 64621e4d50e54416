package coordinatorfx

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.uber.org/fx"
)

// A Lifecycle has the shape of fx.Lifecycle, but its hooks run with every activation, in the
// order in which they were appended, which is that of construction, and with every demotion in
// reverse. OnStart's context has the term (coordinator.TermOf) and ends with it, or after
// fx.DefaultTimeout if the hooks have not all started by then; what a hook starts its OnStop must
// stop. An OnStart that fails fails the activation: the hooks that had started are stopped, the
// role is given back and competed for again after a pause. OnStop's context lasts as long as the
// coordinator waits for work; every OnStop runs, also after one that failed.
//
// Appending is safe for concurrent use. Hooks appended during a term run from the next term on.
type Lifecycle interface {
	Append(hook fx.Hook)
}

type hooks struct {
	mu  sync.Mutex
	all []fx.Hook
}

func newHooks() *hooks { return &hooks{} }

func (h *hooks) Append(hook fx.Hook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, hook)
}

func (h *hooks) copy() []fx.Hook {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// start starts the hooks and returns those that are to be stopped.
func (h *hooks) start(term context.Context) (started []fx.Hook, err error) {
	ctx, cancel := context.WithTimeout(term, fx.DefaultTimeout)
	defer cancel()
	for _, hook := range h.copy() {
		if err := ctx.Err(); err != nil {
			return started, err
		}
		if hook.OnStart != nil {
			if err := hook.OnStart(ctx); err != nil {
				return started, err
			}
		}
		started = append(started, hook)
	}
	return started, nil
}

// stop stops what has started.
func (h *hooks) stop(term context.Context, started []fx.Hook) error {
	ctx, cancel := stopping(term)
	defer cancel()
	var errs []error
	for _, hook := range slices.Backward(started) {
		if hook.OnStop != nil {
			errs = append(errs, hook.OnStop(ctx))
		}
	}
	return errors.Join(errs...)
}
