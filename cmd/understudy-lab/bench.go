package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/failover"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure failover on real processes and real stores, and draw it",
		Long: `Starts stores and contenders, makes them fail, and measures how long the role is without
an active, beside what the store itself takes for one write. Writes a report that can be shown:
report.html, runs.csv, summary.json, environment.json and the figures as SVG.

Servers are found where make puts them, on the PATH, or by UNDERSTUDY_ETCD, UNDERSTUDY_CONSUL,
UNDERSTUDY_NATS_SERVER, UNDERSTUDY_VERSITYGW (S3), UNDERSTUDY_KUBE_APISERVER and UNDERSTUDY_POSTGRES; raft
needs none. With --etcd-endpoints, --nats-url and so on yours are used instead, under a prefix of the
bench's own: nothing is done to them, so store-leader is left out.

A fault's name stands for its variants too: crash is also crash-leader, where the dead led Raft.
` + cli.Codes{0: "every run is measured, and no two worked at once", cli.NotDone: "two worked at once, or a run could not be measured, and it says why; or it was stopped, or the report cannot be written", cli.Unavailable: "a store or a contender does not answer"}.String(),
		Example: `  understudy bench --quick
  understudy bench --backends etcd,consul,raft --faults clean,crash,partition --runs 30 --ttl 2s --out report
  understudy bench compare before/ after/`,
		Args: cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys(), []string{"ttl"})
	o.Ours = true // another tool's variables do not say what is to be measured
	b := &benchOptions{options: o}
	b.flags()
	o.Collect()
	cmd.Flags().Lookup("backend").Hidden = true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		plan, err := b.finish(cmd)
		if err != nil {
			return err
		}
		return cli.Refused(b.measure(cmd, plan))
	}
	cmd.AddCommand(newBenchCompare())
	return cmd
}

// measure runs the plan and writes the report, also of a part.
func (b *benchOptions) measure(cmd *cobra.Command, plan failover.Plan) (err error) {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends us at once
	if plan.Dir, err = os.MkdirTemp("", "understudy-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(plan.Dir)) }()
	env := failover.Describe(ctx, plan, append([]string{"understudy"}, os.Args[1:]...))
	fmt.Fprintf(cmd.OutOrStdout(), "seed %d, about %v\n", plan.Seed, max(time.Minute/2, plan.Expect().Round(time.Minute/2)))
	bar := newProgress(cmd.OutOrStdout())
	plan.Progress = bar.show
	result, failed := failover.Run(ctx, plan)
	env.Took, env.Complete = time.Since(env.Began).Round(time.Second).String(), failed == nil
	if failed != nil {
		env.Error = failed.Error()
	}
	if len(result.Samples) == 0 {
		return benchFailed(ctx, failed)
	}
	if err := failover.Write(b.out, env, result); err != nil {
		return err
	}
	if err := failover.PrintSummary(cmd.OutOrStdout(), failover.Summarize(result)); err != nil {
		return err
	}
	for _, warning := range []string{env.Busy(), env.Few()} {
		if warning != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "\n%s.\n", warning)
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "\n%d runs: %s\n", len(result.Samples), filepath.Join(b.out, failover.ReportFile))
	return errors.Join(benchFailed(ctx, failed), proof(result))
}

// benchFailed gives what ended a bench its exit code.
func benchFailed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return cli.Exit(cli.NotDone, errors.New("stopped before the last run"))
	}
	return cli.Exit(cli.Unavailable, err)
}

// proof is what the result does not prove, with its exit code.
func proof(r failover.Result) error {
	if err := r.Check(); err != nil {
		return cli.Exit(cli.NotDone, err)
	}
	return nil
}

func newBenchCompare() *cobra.Command {
	return &cobra.Command{
		Use:   "compare BEFORE AFTER",
		Short: "Say what got better or worse between two reports, and whether that is more than noise",
		Long: "Says what got better or worse between two reports, which are folders that bench has written.\n" +
			cli.Codes{0: "it is said", cli.NotDone: "a report cannot be read, or they have nothing in common"}.String(),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%s takes two folders that bench has written, BEFORE and AFTER; it was given %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			_, before, errBefore := failover.Load(args[0])
			_, after, errAfter := failover.Load(args[1])
			if err := errors.Join(errBefore, errAfter); err != nil {
				return cli.Refused(err)
			}
			changes := failover.Compare(before, after)
			if len(changes) == 0 {
				return cli.Exit(cli.NotDone, fmt.Errorf("%s and %s have no fault on a store in common, at the same ttl", args[0], args[1]))
			}
			return failover.PrintChanges(cmd.OutOrStdout(), changes)
		},
	}
}
