package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newAdopt() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "adopt",
		Short: "Accept a store that takes the place of another one for good",
		Long: `A store has an identity, which its first writer drew and which a backup keeps. A contender
that has seen it waits, and says "another store", when the store that answers has another
identity or none: an endpoint may be wrong, or the store was set up anew. With this command
you say that the store that answers here replaces the one of that identity. Waiting contenders
then go on by themselves. Nothing else is changed, and the command may be repeated.

Be sure that nobody works with the old store any more: two stores can have two actives. If it
gave greater tokens than this one, raise the floor as well: see token-floor. The identity of
a store is in the line "store" of status.
` + cli.Codes{0: "the store answers to that identity", cli.NotDone: "refused: it is the store's own", cli.Unavailable: ""}.String(),
		Example: `  understudy adopt --identity 5ALCDDCG6LVT5YUIMMXLXHZWAJ --backend etcd --etcd-endpoints h1:2379,h2:2379,h3:2379`,
		Args:    cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys())
	identity := cmd.Flags().String("identity", "", "the identity of the store that was replaced, as the logs of waiting contenders name it")
	o.Duration(&o.Timeout, "timeout", 5*time.Second, "how long to wait for an answer")
	o.Collect()
	o.Judge = func() error {
		if *identity == "" {
			return errors.New("identity: none is given; write --identity and that of the store that was replaced, as the waiting contenders name it in their logs")
		}
		return lock.CheckName("identity", *identity)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return o.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			st, err := standing(ctx, l, *identity) // of any role: each has the store's identity
			if err != nil {
				return cli.Unreachable(err)
			}
			if err := checkIdentity(*identity, st.Store); err != nil {
				return err
			}
			if err = unwritten(l.Adopt(ctx, *identity)); err == nil {
				st, err = standing(ctx, l, *identity)
			}
			if err != nil {
				return cli.Unreachable(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "store %s answers to %s: clients that have seen that one go on here\n"+
				"if they say that the store was rolled back, raise its tokens above the last: understudy token-floor --role ROLE --above N\n", st.Store, *identity)
			return err
		})
	}
	return cmd
}

// anIdentity is what rand.Text draws, or the hash of a Raft group's founders.
var anIdentity = regexp.MustCompile(`^([A-Z2-7]{26,}|[0-9a-f]{32})$`)

// checkIdentity refuses a text that cannot be the identity of the store that was replaced. own is
// that of the store that answers.
func checkIdentity(identity, own string) error {
	shown := own
	if own == "" {
		shown = "none yet"
	}
	switch {
	case identity == own:
		return fmt.Errorf("identity %q: is that of the store that answers here; give the one that the waiting contenders name in their logs", identity)
	case !anIdentity.MatchString(identity):
		return cli.Mistake(fmt.Errorf("identity %q: an identity is 26 letters and digits, or 32 with embedded Raft, as the waiting contenders name it in their logs; the store that answers here has %s", identity, shown))
	}
	return nil
}
