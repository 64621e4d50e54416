package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who is active in a role, and who stands by",
		Long: `Asks any peer, from any machine; needs no data directory. Exits with 0 when there is
an answer, also when nobody is active. Where no role is named and the file that --config
names has several, each of them is shown.

JSON: role; store, its identity (see adopt); active (null: nobody) with id, witness, address, labels, session, beat, ttl,
priority, ready, token and since; last, how the last term ended where nobody is active; and
standbys by rank, each as active without token and since. A beat is the store's
revision of the last one, 0 where the session's record is missing: an active whose beat
does not change for ttl is dead. These names stay.
` + cli.ExitCodes,
		Example: `  understudy status --role billing --raft-peers a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003
  understudy status --role billing -o json | jq .active.id`,
		Args: cobra.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys(), []string{"role"})
	o.Duration(&o.Timeout, "timeout", 5*time.Second, "for an answer")
	output := cli.Output(cmd.Flags())
	o.Collect()
	o.Judge = func() error {
		if o.Given("roles") && o.Role() == "" {
			return nil
		}
		return o.OneRole()
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		warn := func() {}
		defer func() { warn() }()
		return o.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			warn = o.differs(cmd)
			for _, role := range o.asked() {
				st, err := standing(ctx, l, role)
				if err != nil {
					return cli.Unreachable(err)
				}
				if err := show(cmd.OutOrStdout(), *output, newReport(st)); err != nil {
					return err
				}
				for _, text := range []string{nameless(st), unknown(ctx, l, st)} {
					if text != "" {
						cli.Say(cmd.ErrOrStderr(), "understudy: warning: "+text+"\n")
					}
				}
			}
			return nil
		})
	}
	return cmd
}

// differs asks the store who its members are, beside the rest: both may be far away. The
// function that it returns waits a second more, and says how they differ from the settings,
// also where the store does not answer for lack of a quorum.
func (o *options) differs(cmd *cobra.Command) (warn func()) {
	ctx, cancel := context.WithCancel(cmd.Context())
	text := make(chan string, 1)
	go func() { text <- o.Store.Row().Differs(ctx, o.Store) }()
	return func() {
		defer time.AfterFunc(time.Second, cancel).Stop()
		if text := <-text; text != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), "understudy: warning: "+text)
		}
		cancel()
	}
}

// asked are the roles that status is about: one that is named, or those of the file.
func (o *options) asked() (names []string) {
	if o.Role() != "" {
		return []string{o.Role()}
	}
	for _, r := range o.Roles {
		names = append(names, r.Name)
	}
	return names
}

// standing is the role's, once. It tries until ctx is done, and then says what was
// in the way.
func standing(ctx context.Context, l lock.Locker, role string) (lock.Standing, error) {
	why := errors.New("nobody answered")
	for st, err := range l.Watch(ctx, role) {
		if err == nil || errors.Is(err, lock.ErrPermanent) {
			return st, err
		}
		why = err
		cli.Pause(ctx)
	}
	return lock.Standing{}, fmt.Errorf("the store cannot be reached:\n%w", why)
}

// nameless says that the store's record of its identity is gone, and what that costs; else "".
// Whoever takes part gives an empty store an identity first, and nobody takes one away.
func nameless(st lock.Standing) string {
	if st.Store != "" || len(st.Line) == 0 && st.Term.Vacant() {
		return ""
	}
	return "the store has lost its identity, as where its record was deleted by hand: whoever has seen it takes over nothing. " +
		"Is this still the right store, run: understudy adopt --identity OLD, with the one that their logs name"
}

// unknown says that nobody has ever taken part in a role, and which roles there are; else "".
func unknown(ctx context.Context, l lock.Locker, st lock.Standing) string {
	if st.Term.Token != 0 || len(st.Line) > 0 {
		return ""
	}
	return fmt.Sprintf("role %q: nobody has taken part in it; %s", st.Role, cli.Roles(ctx, l))
}

// A report is what status prints as JSON. Its names are stable.
type report struct {
	Role     string      `json:"role"`
	Store    string      `json:"store,omitempty"` // its identity
	Active   *activeRow  `json:"active"`          // null: nobody
	Last     string      `json:"last,omitempty"`
	Standbys []memberRow `json:"standbys"`
}

type activeRow struct {
	memberRow
	Token uint64    `json:"token"`
	Since time.Time `json:"since"`
}

type memberRow struct {
	ID       string            `json:"id"`
	Witness  bool              `json:"witness"` // one stands by: a crash costs milliseconds
	Address  string            `json:"address,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Session  string            `json:"session"`
	Beat     uint64            `json:"beat"` // the revision of the last one seen; 0: the session's record is missing
	TTL      string            `json:"ttl"`
	Priority int               `json:"priority"`
	Ready    bool              `json:"ready"`
}

// crash is how long nobody is active where this one crashes.
func (m memberRow) crash() string {
	if m.Witness {
		return "ms (witness)"
	}
	return m.TTL
}

func newReport(st lock.Standing) report {
	row := func(m lock.Member) memberRow {
		return memberRow{
			ID: m.ID, Witness: m.Witness, Address: m.Address, Labels: m.Labels, Session: string(m.Session),
			Beat: uint64(m.Beat), TTL: m.TTL.String(), Priority: m.Priority, Ready: coordinator.Ready(m),
		}
	}
	r := report{Role: st.Role, Store: st.Store, Standbys: []memberRow{}}
	if !st.Term.Vacant() {
		r.Active = &activeRow{memberRow: row(st.Term.Holder), Token: uint64(st.Term.Token), Since: st.Term.Since}
	} else if st.Term.Token != 0 {
		how := st.Term.Over
		if how == "" {
			how = fmt.Sprintf("ended by %s: %s", st.Term.End.By, st.Term.End.Why)
		}
		r.Last = fmt.Sprintf("%s, token %d, %s", st.Term.Holder.ID, st.Term.Token, how)
	}
	for _, m := range st.Line {
		r.Standbys = append(r.Standbys, row(m))
	}
	return r
}

func show(out io.Writer, format string, r report) error {
	if format == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "role %s", r.Role)
	if r.Store != "" {
		fmt.Fprintf(w, ", store %s", r.Store)
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "ID\tSTATE\tTOKEN\tSINCE\tBEAT\tTTL\tCRASH COSTS\tADDRESS")
	if a := r.Active; a != nil {
		state := "active"
		if a.Beat == 0 {
			state = "silent, its record is missing"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\n", a.ID, state, a.Token, a.Since.Format(time.RFC3339), a.Beat, a.TTL, a.crash(), a.Address)
	} else {
		last := ""
		if r.Last != "" {
			last = "the last was " + r.Last
		}
		fmt.Fprintf(w, "-\tnobody is active\t%s\n", last)
	}
	for i, m := range r.Standbys {
		state := fmt.Sprintf("standby %d", i)
		if !m.Ready {
			state += ", not ready"
		}
		fmt.Fprintf(w, "%s\t%s\t-\t-\t%d\t%s\t%s\t%s\n", m.ID, state, m.Beat, m.TTL, m.crash(), m.Address)
	}
	return w.Flush()
}
