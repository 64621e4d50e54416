package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

func newHistory() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show what happened in a role: who was active, since when, and why it moved",
		Long: `Shows what the contenders have recorded in the store: when a term began and ended, and when
the store did not answer for a while. The latest 32 events are kept. Each is written ttl/4
after it happened, so as not to delay a takeover; a process that is killed writes nothing. A time
is by the clock of the contender that recorded it.

JSON is one document: role and events, each with at, by, kind (began, ended, outage), token,
from and previous (the ID and token of the term before), cause, detail, and parts with name and
seconds. These names are stable.
` + cli.Codes{0: "it is shown", cli.NotDone: "nothing is recorded, or nobody has taken part in the role", cli.Unavailable: ""}.String(),
		Example: `  understudy history --role billing
  understudy history --role billing -o json | jq '.events[-1].cause'`,
		Args: cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys(), []string{"role"})
	o.Duration(&o.Timeout, "timeout", 5*time.Second, "how long to wait for an answer")
	output := cli.Output(cmd.Flags())
	o.Collect()
	o.Judge = o.OneRole
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return o.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			events, err := eventsOf(ctx, l, o.Role())
			if err != nil {
				return err
			}
			if len(events) == 0 {
				st, err := standing(ctx, l, o.Role())
				if err != nil {
					return cli.Unreachable(err)
				}
				text := fmt.Sprintf("role %q: nothing is recorded yet", o.Role())
				return cli.Exit(cli.NotDone, errors.New(firstOf(unknown(ctx, l, st), text)))
			}
			return showHistory(cmd.OutOrStdout(), *output, o.Role(), events)
		})
	}
	return cmd
}

// firstOf is the first text that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// eventsOf is the history of a role. It tries until ctx is done.
func eventsOf(ctx context.Context, l lock.Locker, role string) ([]lock.Event, error) {
	o, ok := l.(lock.Operator)
	if !ok {
		return nil, cli.Mistake(errors.New("this store keeps no history: look in the contenders' logs"))
	}
	for why := error(nil); ; {
		events, err := o.History(ctx, role)
		switch {
		case err == nil:
			cli.Heard(ctx, nil)
			return history.Sorted(events), nil
		case errors.Is(err, lock.ErrPermanent):
			return nil, err
		}
		cli.Heard(ctx, err)
		if why == nil || ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) { // running out of time explains nothing
			why = err
		}
		if cli.Pause(ctx); ctx.Err() != nil {
			return nil, cli.Unreachable(fmt.Errorf(noAnswer, why))
		}
	}
}

func showHistory(out io.Writer, format, role string, events []lock.Event) error {
	document := struct {
		Role   string        `json:"role"`
		Events []history.Row `json:"events"`
	}{role, history.Rows(events)}
	return show(out, format, document, func(page io.Writer) { listEvents(page, events) })
}

func listEvents(page io.Writer, events []lock.Event) {
	w := tabwriter.NewWriter(page, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHEN (ITS CLOCK)\tWHO\tWHAT\tTOKEN\tCAUSE\tWHAT TOOK HOW LONG\tMORE")
	for _, e := range events {
		what := e.Kind
		if e.Kind == lock.Began && e.From != "" {
			what += " after " + e.From
		}
		var parts []string
		for _, p := range e.Parts {
			parts = append(parts, p.Name+" "+short(p.Took))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", e.At.Local().Format(stamp), e.By, what, e.Token,
			firstOf(e.Cause, "-"), firstOf(strings.Join(parts, ", "), "-"), e.Detail)
	}
	_ = w.Flush() // into a string
}

// stamp is the format of times.
const stamp = "2006-01-02T15:04:05.000Z07:00"

// short is a duration as people read it.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
