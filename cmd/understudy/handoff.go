package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newHandoff() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "handoff",
		Short: "Move a role to a named standby, or to the next one",
		Long: `Asks the active to hand the role over: it stops its work, waits for it, and gives the
role to the standby in one commit. The standby has to answer first, so nothing is handed to one
that is dead. Waits for the outcome and shows it. Exits with 1
when the role did not move in time, or moved to another.
` + cli.ExitCodes,
		Example: `  understudy handoff --role billing --raft-peers a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003
  understudy handoff --role billing --to b`,
		Args: cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys(), []string{"role"})
	to := cmd.Flags().String("to", "", "the standby (default the next one)")
	o.Duration(&o.Timeout, "timeout", time.Minute, "for the outcome")
	o.Collect()
	o.Judge = o.OneRole
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return o.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			began := time.Now()
			before, after, err := handOver(ctx, l, o.Role(), *to)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s -> %s, token %d, in %v\n", o.Role(), before.Holder.ID, after.Holder.ID,
				after.Token, time.Since(began).Round(time.Millisecond))
			return err
		})
	}
	return cmd
}

// handOver asks, and follows the role until another term stands.
func handOver(ctx context.Context, l lock.Locker, role, to string) (before, after lock.Term, err error) {
	quick, cancel := ctx, context.CancelFunc(func() {})
	if end, ok := ctx.Deadline(); ok { // to connect and read takes several trips, and the store may be far away
		quick, cancel = context.WithTimeout(ctx, time.Until(end)/3)
	}
	defer cancel()
	st, err := standing(quick, l, role)
	if err != nil {
		return before, after, cli.Unreachable(err)
	}
	if text := unknown(quick, l, st); text != "" {
		return before, after, cli.Exit(cli.NotDone, errors.New(text))
	}
	before = st.Term
	target, err := choose(st, to)
	if err != nil {
		return before, after, err
	}
	host, _ := os.Hostname()
	if err := l.Ask(ctx, role, lock.Request{Token: before.Token, To: target.Session, By: host}); err != nil {
		if errors.Is(err, lock.ErrMoved) {
			return before, after, cli.Exit(cli.NotDone, errors.New("the term ended meanwhile; look at status and ask again"))
		}
		return before, after, cli.Unreachable(err)
	}
	after, err = follow(ctx, l, before, role, target)
	return before, after, err
}

// answerTrips are how many round trips an answer takes at most: the wish goes out to the standby,
// which reads and writes, and that comes back to us.
const answerTrips = 4

// follow waits until another term stands. A standby that does not answer is dead, as far as
// anybody knows, and the wish is taken back.
func follow(ctx context.Context, l lock.Locker, before lock.Term, role string, target lock.Member) (after lock.Term, err error) {
	var broken error
	watching, stop := context.WithCancel(ctx)
	defer stop()
	patience := answerTrips*coordinator.Config{TTL: target.TTL}.Try() + time.Second
	unanswered := time.AfterFunc(patience, stop)
	defer unanswered.Stop()
	for st, err := range l.Watch(watching, role) {
		if st.Request.Answered || err == nil && st.Term.Token != before.Token {
			unanswered.Stop()
		}
		switch {
		case err != nil:
			if watching.Err() == nil {
				broken = err
			}
			cli.Pause(watching)
			continue
		case st.Term.Token == before.Token && !inLine(st, target):
			return after, cli.Exit(cli.NotDone, fmt.Errorf("the session of %s that was asked for has ended, and %s stays active: look at status and ask again", target.ID, before.Holder.ID))
		case st.Term.Token == before.Token || st.Term.Vacant():
		case st.Term.Holder.Session == target.Session:
			return st.Term, nil
		case inLine(st, target):
			return st.Term, cli.Exit(cli.NotDone, fmt.Errorf("%s is active instead of %s, which stands by and did not take the role: its log says why, such as a health check that fails", st.Term.Holder.ID, target.ID))
		default:
			return st.Term, cli.Exit(cli.NotDone, fmt.Errorf("%s is active instead of %s: that one was gone when the work had stopped", st.Term.Holder.ID, target.ID))
		}
		broken = nil
	}
	if ctx.Err() == nil {
		return after, withdraw(ctx, l, before, role, target, patience)
	}
	if broken != nil {
		return after, cli.Unreachable(fmt.Errorf("the store cannot be reached, and the request stands:\n%w", broken))
	}
	return after, cli.Exit(cli.NotDone, fmt.Errorf("%s has not handed over: its work may take longer to stop (--stop-timeout); the request stands", before.Holder.ID))
}

// withdraw takes back a wish that the standby did not answer, and says so.
func withdraw(ctx context.Context, l lock.Locker, before lock.Term, role string, target lock.Member, patience time.Duration) error {
	text := fmt.Sprintf("%s did not answer within %v: it may be dead, cut off from the store, or unhealthy", target.ID, patience)
	switch err := l.Ask(ctx, role, lock.Request{Token: before.Token}); {
	case errors.Is(err, lock.ErrMoved):
		return cli.Exit(cli.NotDone, fmt.Errorf("%s, and the term of %s has ended meanwhile: look at status", text, before.Holder.ID))
	case err != nil:
		return cli.Unreachable(fmt.Errorf("%s, and the request stands, as the store did not take it back: %w", text, err))
	}
	return cli.Exit(cli.NotDone, fmt.Errorf("%s; the request is taken back, and %s stays active", text, before.Holder.ID))
}

func inLine(st lock.Standing, m lock.Member) bool {
	return slices.ContainsFunc(st.Line, func(one lock.Member) bool { return one.Session == m.Session })
}

// choose finds the standby.
func choose(st lock.Standing, to string) (lock.Member, error) {
	var names []string
	for _, m := range st.Line {
		names = append(names, m.ID)
	}
	switch {
	case st.Term.Vacant():
		return lock.Member{}, cli.Exit(cli.NotDone, fmt.Errorf("role %q: nobody is active", st.Role)) // who asks later may find somebody
	case len(st.Line) == 0:
		return lock.Member{}, cli.Exit(cli.NotDone, fmt.Errorf("role %q: nobody stands by beside %s", st.Role, st.Term.Holder.ID))
	case to == "":
		return st.Line[0], nil
	case to == st.Term.Holder.ID:
		return lock.Member{}, fmt.Errorf("to %q: is active already", to)
	}
	for _, m := range st.Line {
		if m.ID == to {
			return m, nil
		}
	}
	return lock.Member{}, fmt.Errorf("to %q: does not stand by; these do: %s", to, strings.Join(names, ", "))
}
