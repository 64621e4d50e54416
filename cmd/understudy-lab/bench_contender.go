package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/lock"
)

// newBenchContender is one of the bench's processes: an embedder whose work writes
// stamps on standard output.
func newBenchContender() *cobra.Command {
	cmd := &cobra.Command{Use: "bench-contender", Hidden: true, Args: cobra.NoArgs}
	o := newOptions(cmd.Flags(), []string{"id"}, cli.TimeKeys)
	store := cmd.Flags().String("store", "", "")
	roles := cmd.Flags().Int("roles", 0, "")
	witnessed := cmd.Flags().Bool("witness", false, "")
	o.Collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		err = o.Read(cmd)
		o.Store = backends.Config{}
		if err := errors.Join(err, json.Unmarshal([]byte(*store), &o.Store), o.ForVoter()); err != nil {
			return err
		}
		c := o.Coordinator
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
		c.Roles = []lock.Bid{{Role: failover.Role}}
		for i := range *roles {
			c.Roles = append(c.Roles[:i], lock.Bid{Role: fmt.Sprintf("%s-%d", failover.Role, i+1)})
		}
		if *witnessed {
			c.Witness = witness.New(o.Store)
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM)
		defer stop()
		locker, err := o.Open(ctx)
		if err != nil {
			if ctx.Err() != nil && !errors.Is(err, lock.ErrPermanent) {
				return nil // it was told to stop before it had begun
			}
			return err
		}
		return errors.Join(failover.Contend(ctx, locker, c, *roles == 0, os.Stdout), locker.Close())
	}
	return cmd
}
