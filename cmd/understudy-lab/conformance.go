package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/failover"
)

func newConformance() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "Prove on a store of yours that it keeps every rule",
		Long: `Runs the suite that every backend must pass: each case quotes the rule that it tests. On etcd,
Consul, PostgreSQL, Kubernetes, NATS and S3 it uses your servers, under a prefix of its own that it removes afterwards: below
--etcd-prefix, --consul-prefix, --postgres-group, --kubernetes-lease, --nats-group or --s3-object where one is given (use one under which
nobody competes), else below understudy-conformance. It touches no other key, row, Lease or object, and kills no server. Networks it cuts by proxies
between itself and the servers. With raft it starts a group of three in this process: a group of yours
would keep what the cases leave there. What takes a fault that it cannot make here is shown as not run.

It takes some minutes, and writes as fast as the store can at times: not beside your own contenders.
` + cli.Codes{0: "every case that ran has passed", cli.NotDone: "a case failed, or it was stopped", cli.Unavailable: ""}.String(),
		Example: `  understudy conformance --backend etcd --etcd-endpoints h1:2379,h2:2379,h3:2379
  understudy conformance --backend consul --case '^Acquire'`,
		Args: cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys(), []string{"ttl"})
	c := &check{options: o}
	o.Duration(&c.suite.History, "history", 0, "how long random calls are made, to be judged whole (default 5s)")
	cmd.Flags().Lookup("history").DefValue = "" // which depends on the suite's
	cmd.Flags().StringVar(&c.only, "case", "", "run only the cases whose names match this regular expression")
	o.Collect()
	ttl := cmd.Flags().Lookup("ttl")
	ttl.Usage, ttl.DefValue = "of the sessions in most cases (default 1s, with raft 2s)", ""
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.run(cmd) }
	return cmd
}

// A check is one run of the suite.
type check struct {
	*options
	suite conformance.Suite
	only  string
}

// run runs the suite, and leaves nothing in the store, also when it is stopped.
func (c *check) run(cmd *cobra.Command) error {
	if err := c.finish(cmd); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends us at once
	remove, err := c.prepare(ctx, cmd.OutOrStdout())
	if err != nil {
		return cli.Unreachable(c.Explain(err))
	}
	results, err := c.check(ctx, cmd.OutOrStdout())
	removed := remove()
	if err != nil {
		return errors.Join(cli.Unreachable(err), removed)
	}
	failed, err := showResults(cmd.OutOrStdout(), c.suite.Cases(), results)
	switch {
	case err != nil:
		return errors.Join(err, removed)
	case ctx.Err() != nil:
		return cli.Exit(cli.NotDone, errors.Join(errors.New("stopped before the last case"), removed))
	case failed > 0:
		return cli.Exit(cli.NotDone, errors.Join(fmt.Errorf("failed cases: %d", failed), removed))
	}
	return cli.Unreachable(removed)
}

// finish checks everything before the first case.
func (c *check) finish(cmd *cobra.Command) error {
	errs := []error{c.Read(cmd)}
	if c.Given("ttl") {
		c.suite.TTL = c.Coordinator.TTL
	}
	only, err := regexp.Compile(c.only)
	if err != nil {
		errs = append(errs, fmt.Errorf("case %q: is not a regular expression: %w", c.only, err))
	} else if c.suite.Only = only; len(c.suite.Cases()) == 0 {
		all := conformance.Suite{}.Cases()
		errs = append(errs, fmt.Errorf("case %q: matches none of %s", c.only, strings.Join(all, ", ")))
	}
	switch row := c.Store.Row(); {
	case row.Inside && c.Given("raft.peers"):
		errs = append(errs, fmt.Errorf("raft-peers %v: a group never forgets a role, and the cases would leave theirs there; leave it out: three nodes are started here", c.Store.Raft.Peers))
	case row.Servers != nil:
		errs = append(errs, c.ForClient())
	case !row.Inside && row.Alone(c.Store) == "":
		errs = append(errs, fmt.Errorf("backend %q: nothing keeps its cases apart here; run the suite from a test, see docs/backend.md", row.Name))
	}
	return errors.Join(errs...)
}

// check runs the cases, shows each failure when it happens, and says now and then how far it
// is.
func (c *check) check(ctx context.Context, out io.Writer) (results map[string]conformance.Result, err error) {
	results = map[string]conformance.Result{}
	reports := make(chan conformance.Result)
	go func() {
		defer close(reports)
		_, err = c.suite.Check(ctx, func(r conformance.Result) { reports <- r })
	}()
	total, failed, last := len(c.suite.Cases()), 0, "none yet"
	tty := cli.Terminal(out)
	say := time.NewTicker(sayEvery)
	defer say.Stop()
	line := func() {
		text := fmt.Sprintf("%d of %d cases, %d failed, the last: %s", len(results), total, failed, last)
		if tty {
			text = "\r\x1b[2K" + text
		} else {
			text += "\n"
		}
		fmt.Fprint(out, text)
	}
	if load := overload(); load != "" {
		fmt.Fprintf(out, "The machine is busy, with a load of %s: a case that measures time may fail for that alone.\n", load)
	}
	for line(); ; {
		select {
		case r, more := <-reports:
			if !more {
				if line(); tty {
					fmt.Fprintln(out)
				}
				return results, err
			}
			if ctx.Err() != nil && r.Verdict == conformance.Failed { // it was told to end
				continue
			}
			if results[r.Case], last = r, r.Case; r.Verdict == conformance.Failed {
				failed++
				results[r.Case] = fail(out, r, tty)
			}
			if tty {
				line()
			}
		case <-say.C:
			line()
		}
	}
}

// overload is the machine's load where it is busy; a variable for tests.
var overload = failover.Overload

// fail shows a failure when it happens, and returns it with the machine's load where that may be why.
func fail(out io.Writer, r conformance.Result, tty bool) conformance.Result {
	first, _, _ := strings.Cut(r.Why, "\n")
	if load := overload(); load != "" {
		busy := fmt.Sprintf("the machine is busy, with a load of %s: try it again while it does nothing else", load)
		first, r.Why = first+" ("+busy+")", r.Why+"\n"+busy
	}
	if tty {
		fmt.Fprint(out, "\r\x1b[2K")
	}
	fmt.Fprintf(out, "%s FAILED: %s\n", r.Case, first)
	return r
}

// showResults prints the table, what each failure is, and why something was not run.
func showResults(out io.Writer, names []string, results map[string]conformance.Result) (failed int, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nCASE\tRESULT\tTOOK\tRULE")
	var lacks []string
	for _, name := range names {
		r, ran := results[name]
		said := string(r.Verdict)
		switch {
		case !ran:
			said = "not run: stopped before"
		case r.Verdict == conformance.Failed:
			failed, said = failed+1, "FAILED"
		case r.Verdict == conformance.NotApplicable:
			fault, _, _ := strings.Cut(r.Why, ":")
			said = "not run: needs " + fault
			lacks = append(lacks, r.Why)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, said, r.Took.Round(time.Millisecond), r.Rule)
	}
	if err := w.Flush(); err != nil {
		return failed, err
	}
	slices.Sort(lacks)
	fmt.Fprintf(out, "\n%d cases: %d passed, %d failed, %d not run\n", len(names), passed(results), failed, len(names)-passed(results)-failed)
	for _, why := range slices.Compact(lacks) {
		fmt.Fprintf(out, "cannot be done here: %s\n", why)
	}
	for _, name := range names {
		if r := results[name]; r.Verdict == conformance.Failed {
			fmt.Fprintf(out, "\n%s failed. The rule: %s\n\t%s\n", name, r.Rule, strings.ReplaceAll(r.Why, "\n", "\n\t"))
		}
	}
	return failed, nil
}

func passed(results map[string]conformance.Result) (n int) {
	for _, r := range results {
		if r.Verdict == conformance.Passed {
			n++
		}
	}
	return n
}
