package config_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator"
)

// A program whose store, and all else, is chosen by its flags.
func Example() {
	// First in main: witness.Main(backends.Beside)
	flags := pflag.NewFlagSet("billing", pflag.ExitOnError)
	config.Flags(flags)
	_ = flags.Parse([]string{"--backend", "memory", "--role", "billing", "--id", "a", "--log-level", "error"}) // it exits by itself

	c, err := config.Load(flags)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range c.Warnings {
		slog.Warn(w)
	}
	ctx := context.Background()
	locker, err := c.Open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locker.Close()
	err = coordinator.Run(ctx, locker, c.Coordinator, func(_ context.Context, t coordinator.Term) error {
		fmt.Println(t.Role, "works:", t.Valid())
		return nil // done for good
	})
	fmt.Println(err)
	// Output:
	// billing works: true
	// <nil>
}
