package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/conformance/failover"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Args: cobra.NoArgs}
	o := newOptions(cmd.Flags())
	o.storeFlags()
	names := cmd.Flags().StringSlice("backends", []string{"raft", "etcd", "consul"}, "")
	faults := cmd.Flags().StringSlice("faults", []string{"clean"}, "")
	runs := cmd.Flags().Int("runs", 3, "")
	ttl := cmd.Flags().Duration("ttl", time.Second, "")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, _ := os.MkdirTemp("", "bench")
		p := failover.Plan{Runs: *runs, TTL: *ttl, Seed: uint64(time.Now().UnixNano()), Dir: dir, Progress: func(p failover.Progress) { fmt.Println(p) }}
		for _, n := range *names {
			p.Backends = append(p.Backends, o.benchBackend(n))
		}
		for _, n := range *faults {
			for _, f := range failover.Faults {
				if f.Name == n {
					p.Faults = append(p.Faults, f)
				}
			}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM); defer stop()
		r, err := failover.Run(ctx, p)
		for _, s := range r.Samples {
			fmt.Println(s.Store, s.Fault, s.Run, s.Outcome, s.Old, s.New, s.Led, "end", time.Duration(s.OldEnd), "told", time.Duration(s.Told), "granted", time.Duration(s.Granted), "start", time.Duration(s.Started), "succ", time.Duration(s.Success), "stall", time.Duration(s.Stall), "over", s.Overlap, s.Note)
		}
		for k, f := range r.Floors {
			fmt.Println(k, f.Commit[25], f.Delivery[25])
		}
		return err
	}
	return cmd
}
