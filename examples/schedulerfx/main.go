// Schedulerfx is scheduler as an application of go.uber.org/fx.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/backendsfx"
	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/coordinatorfx"
	"github.com/understudy-ha/understudy/coordinator/witness"
)

func main() {
	witness.Main(backends.Beside) // first: this program is its own witness
	fx.New(
		fx.WithLogger(func(log *slog.Logger) fxevent.Logger { return &fxevent.SlogLogger{Logger: log} }),
		fx.Provide(slog.Default, newConfigs, newQueue, coordinatorfx.AsActive(newScheduler)),
		fx.StopTimeout(time.Minute), // more than coordinator.Config.StopTimeout
		backendsfx.Module,
		coordinatorfx.Module, // last
	).Run()
}

func newConfigs() (backends.Config, coordinator.Config, error) {
	config.Flags(pflag.CommandLine)
	pflag.Parse()
	c, err := config.Load(pflag.CommandLine)
	if err != nil {
		return backends.Config{}, coordinator.Config{}, err
	}
	return c.Store, c.Coordinator, nil
}

// A queue is opened with every activation, and closed with every demotion.
type queue struct{ open bool }

func newQueue(active coordinatorfx.Lifecycle) *queue {
	q := &queue{}
	active.Append(fx.StartStopHook(func() { q.open = true }, func() { q.open = false }))
	return q
}

// A scheduler serves while this process is active.
type scheduler struct {
	id    string
	queue *queue
}

func newScheduler(c coordinator.Config, q *queue) *scheduler { return &scheduler{c.ID, q} }

func (s *scheduler) Serve(ctx context.Context) error {
	term, _ := coordinator.TermOf(ctx)
	for job := 1; s.queue.open; job++ {
		fmt.Printf("token %d: %s runs job %d\n", term.Token, s.id, job)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("the queue is closed")
}
