package main

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
)

func newVoter() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "raft-voter",
		Short: "A third voter for a pair of coordinators; it competes for nothing",
		Example: `  understudy raft-voter --id c --raft-dir /var/lib/voter --raft-peers a=h1:7001,b=h2:7001,c=h3:7001 \
    --raft-ca-file ca.pem --raft-cert-file c.pem --raft-key-file c.key`,
		Args: cobra.NoArgs,
	}
	o := newOptions(cmd.Flags())
	o.nodeFlags()
	o.logFlags()
	o.duration(&o.config.TTL, "ttl", 10*time.Second, "the contenders' ttl, from which the group's timing follows")
	o.collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var voter error
		if o.backend != "raft" {
			voter = fmt.Errorf("backend %q: a voter is one of raft", o.backend)
		}
		if err := errors.Join(voter, o.finishNode(cmd.ErrOrStderr())); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		locker, err := backends.Open(ctx, o.open())
		if err != nil {
			return o.stopped(ctx, err)
		}
		o.config.Logger.Info("voting", "id", o.config.ID, "timing", o.raft.Timing)
		<-ctx.Done()
		return locker.Close()
	}
	return cmd
}
