package coordinatorfx_test

import (
	"context"
	"fmt"
	"log/slog"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/coordinatorfx"
	"github.com/understudy-ha/understudy/lock"
)

// A Scheduler is constructed once, and schedules only while active.
type Scheduler struct{}

func NewScheduler(active coordinatorfx.Lifecycle) *Scheduler {
	active.Append(fx.StartStopHook(
		func() { fmt.Println("schedules") },
		func() { fmt.Println("schedules no more") },
	))
	return &Scheduler{}
}

// A Reporter runs beside it, and shuts the application down, as this is an example.
type Reporter struct{ down fx.Shutdowner }

func NewReporter(down fx.Shutdowner) *Reporter { return &Reporter{down} }

func (r *Reporter) Serve(ctx context.Context) error {
	term, _ := coordinator.TermOf(ctx)
	fmt.Println("reports for", term.Role)
	return r.down.Shutdown()
}

func Example() {
	fx.New(
		fx.NopLogger,
		fx.Provide(memory.New().Open), // in life: backendsfx.Etcd, and an etcd.Config
		fx.Supply(coordinator.Config{ID: "a", Roles: []lock.Bid{{Role: "billing"}}}, slog.New(slog.DiscardHandler)),
		fx.Provide(NewScheduler, coordinatorfx.AsActive(NewReporter)),
		fx.Invoke(func(*Scheduler) {}),
		coordinatorfx.Module, // last
	).Run()
	// Output:
	// schedules
	// reports for billing
	// schedules no more
}
