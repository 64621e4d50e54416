package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/lock"
)

// newDemoContender is one of the demo's processes: an embedder whose work writes
// a stamp on standard output every millisecond, each only after asking Valid.
func newDemoContender() *cobra.Command {
	var c raft.Config
	var peers string
	var ttl, every time.Duration
	var beside bool
	cmd := &cobra.Command{
		Use: "demo-contender", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.Peers, err = raft.ParsePeers(peers); err != nil {
				return err
			}
			c.Timing, c.Logger = raft.TimingFor(ttl), slog.New(slog.DiscardHandler)
			config := coordinator.Config{ID: c.ID, TTL: ttl, Roles: []lock.Bid{{Role: demoRole}}, Logger: c.Logger, HangTimeout: demoHang}
			var w *witness.Witness
			if beside {
				w = witness.New(backends.Config{Backend: "raft", Raft: c})
				config.Witness = w
			}
			return contend(cmd.Context(), c, config, func(ctx context.Context, t coordinator.Term) error {
				return stampAll(ctx, t, every, os.Stdout, w)
			})
		},
	}
	cmd.Flags().StringVar(&c.ID, "id", "", "")
	cmd.Flags().StringVar(&c.Dir, "raft-dir", "", "")
	cmd.Flags().StringVar(&peers, "raft-peers", "", "")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Second, "")
	cmd.Flags().DurationVar(&every, "every", time.Millisecond, "")
	cmd.Flags().BoolVar(&beside, "witness", false, "")
	return cmd
}

func contend(ctx context.Context, c raft.Config, config coordinator.Config, work coordinator.Work) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	locker, err := raft.Open(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(coordinator.Run(ctx, locker, config, work), locker.Close())
}

// stampAll writes "start" with the witness's process ID, a "stamp" while the term is valid, and "end" with why.
// Its times are of CLOCK_MONOTONIC, which all processes of a machine share.
func stampAll(ctx context.Context, t coordinator.Term, every time.Duration, out io.Writer, beside *witness.Witness) error {
	w := bufio.NewWriter(out)
	sayAt := func(at time.Duration, what, why string) {
		fmt.Fprintf(w, "%s %d %d %s\n", what, t.Token, at, why)
		w.Flush()
	}
	say := func(what, why string) { sayAt(coordinator.Clocks().Mono, what, why) }
	pid := 0
	if beside != nil {
		pid = beside.PID()
	}
	say("start", strconv.Itoa(pid))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		if asked := coordinator.Clocks().Mono; t.Valid() { // this process may be stopped right after it
			sayAt(asked, "stamp", "")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	say("end", context.Cause(ctx).Error())
	return nil
}
