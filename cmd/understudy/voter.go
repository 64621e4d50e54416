package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newVoter(s *signals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "raft-voter",
		Short: "A third voter for a pair of coordinators; it competes for nothing",
		Long: `Votes in the group, and keeps its log, but takes part in no role. Give it the --ttl of the
contenders, or the same --raft-timing.
` + cli.Codes{0: "a stop was requested", cli.Usage: "a mistake in the command line, the environment or the file of settings, or an error that no retry can cure", cli.Held: "another process runs as this node"}.String(),
		Example: `  understudy raft-voter --id c --raft-dir /var/lib/voter --ttl 2s --raft-peers a=h1:7001,b=h2:7001,c=h3:7001 \
    --raft-ca-file ca.pem --raft-cert-file c.pem --raft-key-file c.key`,
		Args: cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.NodeKeys(), []string{"log", "ttl"})
	o.Collect()
	cmd.Flags().Lookup("ttl").Usage = "the contenders' ttl, from which the group's timing follows"
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := o.Read(cmd)
		if !o.Store.Row().Inside {
			err = errors.Join(err, fmt.Errorf("backend %q: a voter is one of raft", o.Store.Backend))
		}
		if err := errors.Join(err, o.ForVoter()); err != nil {
			return err
		}
		ctx, stop := context.WithCancel(cmd.Context())
		defer stop()
		heard := s.take(false)
		defer signal.Stop(heard)
		go func() {
			for sig := range heard {
				if stops(sig) {
					stop()
				}
			}
		}()
		locker, err := o.Open(ctx)
		if err != nil {
			return ofTwins(o.stopped(ctx, err))
		}
		o.Coordinator.Logger.Info("voting", "id", o.Coordinator.ID, "timing", o.Store.Raft.Timing)
		why := refusal(ctx, locker)
		if err := locker.Close(); err != nil { // does not change how it ends
			o.Coordinator.Logger.Error("the store was not closed in order", "error", err)
		}
		asynclog.Flush(o.Coordinator.Logger, asynclog.ExitFlush)
		return ofTwins(o.Explain(why))
	}
	return cmd
}

// refusal waits until ctx is done, or a node can vote no more, whose reason it returns: one
// on the data directory of another group, or one that met a newer format.
func refusal(ctx context.Context, l lock.Locker) error {
	for _, err := range l.Watch(ctx) {
		if errors.Is(err, lock.ErrPermanent) {
			return err
		}
		if err != nil {
			cli.Pause(ctx)
		}
	}
	return nil
}
