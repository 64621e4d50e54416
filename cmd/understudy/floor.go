package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newTokenFloor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token-floor",
		Short: "Make every later token greater than a number, after a backup was restored",
		Long: `A store that was rolled back gives tokens again that it gave before; whoever saw the
greater ones refuses to compete in it. This raises every later token of every role above
a number: one at least as great as any token that was ever seen. It never lowers one.
` + cli.Codes{0: "every later token is greater", cli.NotDone: "the store refuses", cli.Unavailable: ""}.String(),
		Example: `  understudy token-floor --role billing --above 120000 --raft-peers a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003`,
		Args:    cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys(), []string{"role"})
	var above floor
	cmd.Flags().Var(&above, "above", "every later token is greater than this")
	o.Duration(&o.Timeout, "timeout", 5*time.Second, "for an answer")
	o.Collect()
	o.Judge = func() error {
		var err error
		if !cmd.Flags().Changed("above") {
			err = errors.New("above: none is given; write --above N, the greatest token that was ever seen")
		}
		return errors.Join(o.OneRole(), err)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return o.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			if err := l.Raise(ctx, lock.Token(above)); err != nil {
				return unreachable(err)
			}
			st, err := standing(ctx, l, o.Role())
			if err != nil {
				return cli.Unreachable(err)
			}
			beyond := ""
			if uint64(st.Floor) > uint64(above) { // it was raised before, or the store has counted on meanwhile
				beyond = fmt.Sprintf(": the store was beyond %d, or has counted on since", above)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "role %s: last token %d; every later one is greater than %d%s\n", o.Role(), st.Term.Token, st.Floor, beyond)
			return err
		})
	}
	return cmd
}

// A floor is a token above which every later one is to be.
type floor lock.Token

func (f *floor) Type() string   { return "token" }
func (f *floor) String() string { return strconv.FormatUint(uint64(*f), 10) }

func (f *floor) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || lock.CheckFloor(lock.Token(n)) != nil {
		return fmt.Errorf("%q must be the greatest token that was ever seen: a whole number from 1 to %d", text, lock.MaxFloor)
	}
	*f = floor(n)
	return nil
}
