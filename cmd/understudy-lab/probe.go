package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

// probed are the cases that a store must pass to hold a lock, each with what it shows.
var probed = []struct{ name, shows string }{
	{"AcquireRace", "of 50 that want a role at once, over five connections, one gets it"},
	{"TokenIncreases", "every token is greater than all before it"},
	{"AcquireReplyLost", "a grant whose reply was lost is found again"},
	{"BeatReplyLost", "a beat whose reply was lost is not taken for another"},
	{"AcquireLateMoved", "a request that arrives late changes nothing"},
	{"EvictMoved", "a process that beats is not evicted"},
	{"EvictAbsent", "a session that somebody deletes is only silent"},
	{"HandoffOneCommit", "a role passes on in one step"},
	{"WatchOwn", "nothing older is shown than what was acknowledged"},
}

// probeBeats is how many writes are measured.
const probeBeats = 100

func newProbe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Say in some seconds whether a store can hold a lock",
		Long: `Says in some seconds whether your store can hold a lock: yes, or no with what was seen. It measures writes
against --ttl, and then runs the cases of the suite that fail if the store ignores a condition, loses what it
acknowledged, or shows old values. A yes proves less than understudy conformance, which takes minutes and
has the same settings. Like that, it works under a prefix of its own and removes it.
` + cli.Codes{0: "yes", cli.NotDone: "no, or it was stopped", cli.Unavailable: ""}.String(),
		Example: `  understudy probe --backend etcd --etcd-endpoints h1:2379,h2:2379,h3:2379
  understudy probe --backend postgres --postgres-url postgres://billing@h1/understudy`,
		Args: cli.NoArgs,
	}
	c := &check{options: newOptions(cmd.Flags(), cli.StoreKeys(), []string{"ttl"})}
	c.Collect()
	cmd.Flags().Lookup("ttl").Usage = "that a write is measured against"
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.probe(cmd) }
	return cmd
}

// probe measures, then runs the cases, and leaves nothing under its prefix, also when it is stopped.
func (c *check) probe(cmd *cobra.Command) error {
	c.only = onlyProbed().String()
	if err := errors.Join(c.finish(cmd), c.Explain(c.Coordinator.Defaults().ValidateTimes())); err != nil {
		return err
	}
	c.suite.TTL = 0 // the cases have their own
	out := cmd.OutOrStdout()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends us at once
	remove, err := c.prepare(ctx, out)
	if err != nil {
		return cli.Unreachable(c.Explain(err))
	}
	if load := overload(); load != "" {
		fmt.Fprintf(out, "The machine is busy, with a load of %s: what measures time may say no for that alone.\n", load)
	}
	no, err := c.measured(ctx, out) // first: the cases would take minutes on a store that is too far away
	untried := false
	if !no && err == nil {
		no, untried, err = c.seen(ctx, out)
	}
	removed := remove()
	switch {
	case ctx.Err() != nil:
		return cli.Exit(cli.NotDone, errors.Join(errors.New("stopped before the last answer"), removed))
	case err != nil:
		return errors.Join(cli.Unreachable(c.Explain(err)), removed)
	case no:
		return cli.Exit(cli.NotDone, errors.Join(fmt.Errorf("no: %s cannot hold a lock as it is", c.Store.Row().Name), removed))
	}
	store := c.Store.Row().Name
	fmt.Fprintf(out, "\nyes: %s can hold a lock%s\n", store, map[bool]string{true: ", as far as that was tried"}[untried])
	if c.Given(store + ".mayForget") {
		fmt.Fprintf(out, "but with --%s-may-forget it may forget in a crash what it acknowledged: then two may be active at once\n", store)
	}
	return cli.Unreachable(removed)
}

// onlyProbed matches the names of the cases.
func onlyProbed() *regexp.Regexp {
	var names []string
	for _, p := range probed {
		names = append(names, p.name)
	}
	return regexp.MustCompile("^(" + strings.Join(names, "|") + ")$")
}

// seen runs the cases, and prints what each shows when it has ended.
func (c *check) seen(ctx context.Context, out io.Writer) (no, untried bool, err error) {
	_, err = c.suite.Check(ctx, func(r conformance.Result) {
		if ctx.Err() != nil {
			return
		}
		i := slices.IndexFunc(probed, func(p struct{ name, shows string }) bool { return p.name == r.Case })
		switch r.Verdict {
		case conformance.Passed:
			fmt.Fprintf(out, "yes         %s\n", probed[i].shows)
		case conformance.NotApplicable:
			untried = true
			fmt.Fprintf(out, "not tried   %s (%s)\n", probed[i].shows, r.Why)
		default:
			no = true
			fmt.Fprintf(out, "NO          %s\n            %s\n", probed[i].shows, strings.ReplaceAll(r.Why, "\n", "\n            "))
		}
	})
	return no, untried, err
}

// measured compares the time of a write with what the ttl allows a call.
func (c *check) measured(ctx context.Context, out io.Writer) (slow bool, err error) {
	try := c.Coordinator.Try()
	store, err := c.suite.New(ctx)
	if err != nil {
		return false, err
	}
	if store.Close != nil {
		defer func() { err = errors.Join(err, store.Close()) }()
	}
	client, err := store.Open(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	me := lock.Contender{ID: "probe", Session: lock.SessionID(rand.Text())}
	session, err := client.Register(ctx, me, lock.Promise{TTL: c.Coordinator.TTL}, lock.Bid{Role: "probe"})
	if err != nil {
		return false, err
	}
	var took []time.Duration
	for range probeBeats {
		began := time.Now()
		if err := session.Beat(ctx); err != nil {
			return false, err
		}
		took = append(took, time.Since(began))
		select { // a store may have a process that never stops writing wait for others
		case <-time.After(2 * time.Since(began)):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	if err := session.Close(ctx); err != nil {
		return false, err
	}
	slices.Sort(took)
	worst := took[len(took)-1]
	word := "yes         "
	if slow = worst > try; slow {
		word = "NO          "
	}
	fmt.Fprintf(out, "%sa write takes %v at the median and %v at the worst of %d; at a ttl of %v a call may take %v\n", word,
		took[len(took)/2].Round(10*time.Microsecond), worst.Round(10*time.Microsecond), probeBeats, c.Coordinator.TTL, try)
	if slow {
		fmt.Fprintf(out, "            raise --ttl to %v at least, or use servers that are nearer\n", (10*worst).Round(time.Second)+time.Second)
	}
	return slow, nil
}
