package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// quiet is a logger for examples, whose output is compared.
var quiet = slog.New(slog.DiscardHandler)

// Two contenders for one role: the second works when the first has stopped.
func ExampleRun() {
	store := memory.New() // one for both; backends.Open opens a real one
	contend := func(ctx context.Context, id string, active chan<- string) error {
		config := coordinator.Config{ID: id, Roles: []lock.Bid{{Role: "billing"}}, Logger: quiet}
		return coordinator.Run(ctx, store.Open(), config, func(ctx context.Context, term coordinator.Term) error {
			active <- id
			<-ctx.Done() // only while active
			fmt.Println(id, "ends:", context.Cause(ctx))
			return nil
		})
	}
	active, done := make(chan string), make(chan error)
	stop := map[string]context.CancelFunc{}
	for _, id := range []string{"a", "b"} {
		ctx, cancel := context.WithCancel(context.Background())
		stop[id] = cancel
		go func() { done <- contend(ctx, id, active) }()
	}
	for range 2 {
		stop[<-active]()
		fmt.Println("stopped:", <-done)
	}
	// Unordered output:
	// a ends: stop was asked for
	// stopped: <nil>
	// b ends: stop was asked for
	// stopped: <nil>
}

// A call deep below the work finds the token in its context.
func ExampleTermOf() {
	write := func(ctx context.Context, what string) error {
		term, ok := coordinator.TermOf(ctx)
		if !ok || !term.Valid() {
			return errors.New("not active")
		}
		fmt.Println(what, "for", term.Role, "under a token:", term.Token > 0)
		return nil
	}
	config := coordinator.Config{ID: "a", Roles: []lock.Bid{{Role: "billing"}}, Logger: quiet}
	err := coordinator.Run(context.Background(), memory.New().Open(), config, func(ctx context.Context, _ coordinator.Term) error {
		return write(ctx, "an invoice") // nil: done for good
	})
	fmt.Println(err)
	fmt.Println(write(context.Background(), "an invoice"))
	// Output:
	// an invoice for billing under a token: true
	// <nil>
	// not active
}

// A client follows the active without competing.
func ExampleObserve() {
	store := memory.New()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error)
	go func() {
		config := coordinator.Config{ID: "a", Address: "10.0.0.7:80", Roles: []lock.Bid{{Role: "billing"}}, Logger: quiet}
		done <- coordinator.Run(ctx, store.Open(), config, func(ctx context.Context, _ coordinator.Term) error {
			<-ctx.Done()
			return nil
		})
	}()
	for term, err := range coordinator.Observe(context.Background(), store.Open(), "billing") {
		switch {
		case err != nil:
			fmt.Println("last known:", term.Holder.Address, err)
		case !term.Vacant():
			fmt.Println("active:", term.Holder.ID, "at", term.Holder.Address)
			stop()
		case term.Token != 0:
			fmt.Println("nobody; the last was", term.Holder.ID)
			fmt.Println(<-done)
			return
		}
	}
	// Output:
	// active: a at 10.0.0.7:80
	// nobody; the last was a
	// <nil>
}

// A cache is filled while standing by, and says when it is.
func ExampleConfig_standby() {
	warm := make(chan struct{})
	config := coordinator.Config{
		ID: "a", Roles: []lock.Bid{{Role: "billing"}}, Logger: quiet,
		Standby: func(ctx context.Context, role string) error {
			close(warm) // a real one follows what the active does until ctx is done
			<-ctx.Done()
			return nil
		},
		Ready: func(role string) bool {
			select {
			case <-warm:
				return true
			default:
				return false
			}
		},
	}
	err := coordinator.Run(context.Background(), memory.New().Open(), config, func(context.Context, coordinator.Term) error {
		<-warm
		fmt.Println("works with a warm cache")
		return nil
	})
	fmt.Println(err)
	// Output:
	// works with a warm cache
	// <nil>
}
