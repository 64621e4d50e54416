package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

func newEvict() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evict",
		Short: "End the session of a contender that you know is dead",
		Long: `Ends the session of the active of a role, or of a contender by its ID, so that its roles
are free at once. First it watches the session for its promise (ttl + skew). It refuses
if a beat comes, because then the contender lives: use handoff, or stop it.

With --force it does not wait: you say that the process is dead. If it is not, it works on
beside its successor until its next beat fails, at most until its own deadline; only the
token protects then.

With raft under TLS it needs the certificate of a peer.
` + cli.Codes{0: "its session is ended", cli.NotDone: "refused: it lives, or nobody is active, or nobody has that ID", cli.Unavailable: ""}.String(),
		Example: `  understudy evict --role billing --raft-peers a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003
  understudy evict --id host1-billing --force`,
		Args: cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys(), []string{"role", "id"})
	force := cmd.Flags().Bool("force", false, "do not wait: you know that the process is dead")
	o.Duration(&o.Timeout, "timeout", 5*time.Second, "how long to wait for an answer, in addition to the promise")
	o.Collect()
	cmd.Flags().Lookup("id").Usage = "the contender, instead of --role"
	o.Judge = func() error { return o.eitherRoleOrID(cmd.Flags().Changed) }
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return o.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			e := eviction{locker: l, role: o.Role(), id: o.Coordinator.ID, force: *force, timeout: o.Timeout, out: cmd.OutOrStdout()}
			if e.role != "" && e.id != "" { // one is a flag, the other a variable
				if cmd.Flags().Changed("id") {
					e.role = ""
				} else {
					e.id = ""
				}
			}
			return e.run(ctx, cmd.Context())
		})
	}
	return cmd
}

// eitherRoleOrID says what is wrong unless exactly one of them is given. A flag counts more than
// the variable of the other, which may be set for all commands.
func (o *options) eitherRoleOrID(flag func(name string) bool) error {
	switch id := o.Coordinator.ID; {
	case o.Role() != "" && id != "" && flag("id") == flag("role"):
		return errors.New("role and id: give only one of them, as --role or --id")
	case o.Role() != "" && id != "":
		return errors.Join(o.CheckName("role", o.Role()), o.CheckName("id", id))
	case o.Role() == "" && id == "" && (o.Given("role") || o.Given("id")): // it is empty, or no text: Read says so
		return nil
	case o.Role() == "" && id == "":
		return cli.NoRole("role or id: none is given; write --role ROLE, or set UNDERSTUDY_ROLE, or write --id ID")
	case o.Role() == "":
		return o.CheckName("id", id)
	}
	return o.CheckName("role", o.Role())
}

// An eviction is one run of evict.
type eviction struct {
	locker   lock.Locker
	role, id string // one of them
	force    bool
	timeout  time.Duration
	out      io.Writer
}

// run finds the session, waits out its promise, and ends it. asked limits each answer of the
// store, all limits everything.
func (e eviction) run(asked, all context.Context) error {
	m, err := e.find(asked)
	if err != nil {
		return err
	}
	if p := m.Promise; !e.force {
		fmt.Fprintf(e.out, "watching %s (session %s) for %v: evicted only if no beat comes\n", m.ID, m.Session, p.TTL+p.Skew)
		if err := e.watch(all, m); err != nil {
			return err
		}
	}
	return e.end(all, m)
}

// find looks for the session: of the role's holder, or of the ID in any role.
func (e eviction) find(ctx context.Context) (lock.Member, error) {
	if e.role != "" {
		st, err := standing(ctx, e.locker, e.role)
		if err != nil {
			return lock.Member{}, cli.Unreachable(err)
		}
		if text := unknown(ctx, e.locker, st); text != "" {
			return lock.Member{}, cli.Exit(cli.NotDone, errors.New(text))
		}
		if st.Term.Vacant() {
			return lock.Member{}, cli.Exit(cli.NotDone, fmt.Errorf("role %q: nobody is active", e.role))
		}
		return st.Term.Holder, nil
	}
	var found lock.Member // the contender may bid for any role
	err := cli.All(ctx, e.locker, func(st lock.Standing) bool {
		for _, m := range append([]lock.Member{st.Term.Holder}, st.Line...) {
			if m.ID == e.id && (m.Session != st.Term.Holder.Session || !st.Term.Vacant()) {
				found = m
			}
		}
		return found.ID == ""
	})
	switch {
	case err != nil:
		return found, cli.Unreachable(fmt.Errorf("the store cannot be reached:\n%w", err))
	case found.ID == "":
		return found, fmt.Errorf("id %q: is neither active nor standing by in any role", e.id)
	}
	return found, nil
}

// watch sees the session silent for its whole promise, or refuses. Reading the same beat again
// does not restart the count.
func (e eviction) watch(ctx context.Context, m lock.Member) error {
	ctx, cancel := context.WithTimeout(ctx, m.TTL+m.Skew)
	defer cancel()
	for st, err := range e.locker.Watch(ctx) {
		if err != nil {
			if ctx.Err() == nil {
				return cli.Unreachable(fmt.Errorf("the store stopped answering while the session was watched; nothing was changed:\n%w", err))
			}
			break
		}
		for _, other := range append([]lock.Member{st.Term.Holder}, st.Line...) {
			if other.Session == m.Session && other.Beat != m.Beat && other.Beat != lock.Absent {
				return cli.Exit(cli.NotDone, fmt.Errorf("%s lives: its beat moved from %d to %d. Nothing was changed; stop it, use handoff, or give --force", m.ID, m.Beat, other.Beat))
			}
		}
	}
	return nil
}

// end writes the end of the session on the beat that was seen; by force on any beat.
func (e eviction) end(ctx context.Context, m lock.Member) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	seen := m.Beat
	if e.force {
		seen = lock.AnyBeat
	}
	err := e.locker.Evict(ctx, m.Session, seen, lock.End{By: by(), Why: history.Evicted})
	switch {
	case errors.Is(err, lock.ErrMoved):
		return cli.Exit(cli.NotDone, fmt.Errorf("%s lives: it beat at the last moment. Nothing was changed", m.ID))
	case err != nil:
		return cli.Unreachable(err)
	}
	if e.force {
		_, err = fmt.Fprintf(e.out, "%s is evicted by force (session %s): its roles are free; if it lives, it may work beside its successor for up to %v after its last beat\n",
			m.ID, m.Session, m.TTL-m.Skew)
		return err
	}
	_, err = fmt.Fprintf(e.out, "%s is evicted: its roles are free\n", m.ID)
	return err
}
