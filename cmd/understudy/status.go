package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

// statusCodes are the exit codes of status.
var statusCodes = cli.Codes{
	0:               "every role that was asked about has an active; with --is-active, it is --id",
	cli.NotDone:     "in one of them nobody is active, or nobody ever was, or a record cannot be read",
	another:         "with --is-active: another one is active",
	cli.Unavailable: "",
}

// another is status's exit code if another contender is active.
const another = 2

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who is active in each role, who stands by, and the health of the store",
		Long: `Asks any peer, from any machine; needs no data directory. Without --role it shows the roles
in the file that --config names, or else every role in the store.

An active is called silent if its session's record is missing, or if no beat was seen while
status waited for one: for 3/8 of the ttl, a beat and a try, and only if the last one is old by
its owner's clock. Where --timeout ends that wait, it is silent once its promise is over by that clock. With --watch it
is if no beat came for half of the ttl before the store last answered. A silent one does not count as
active. The time of a beat is by its owner's clock, which may differ from yours. A standby is called silent if
its last beat is older by that clock than one and a half times the ttl: one that is dead is shown until others end its session.

A crash costs milliseconds where the process has a witness, and else the ttl. Where it is a voter of embedded
Raft of which none may fail, it costs the store's majority: nobody is active until a voter is back.

--watch runs until it is interrupted: on a terminal it redraws the page, elsewhere it prints a line for
each change. When the store stops answering, and when it answers again, a line on standard error says so;
there also, when one of its servers falls silent or fails, and when all are well again.

JSON is one document, or with --watch one for each line: store (name, identity, members, leader,
silent, barred: those of silent with which TLS fails, failing, quorum, margin: how many more members may
fail, refuses: why every write is refused although members answer, unanswered: with --watch, why the roles
are only what was last seen) and roles, each with role,
active (null: nobody), last (how the last term ended, if nobody is active), paused (by, why, at, until, stop;
if present, nobody takes over), fence (by, at; that contender's fence command runs, or ran, against
the active), request (if a handoff was asked for) and standbys by rank.
An active has id, token, since, session, beat (the store's revision of the last one, 0 if the session's
record is missing), beatAt, promiseLeft (seconds, by its owner's clock), silent, ttl, witness (it has
one: a crash costs milliseconds), priority (its rank in line goes by this: lowered while it is not ready),
ready, drained, unfit (why it would not take over), setPriority and setBy (what an operator has set), address,
labels. A standby has the same without token, since and promiseLeft. These names are stable.
` + statusCodes.String(),
		Example: `  understudy status --role billing --raft-peers a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003
  understudy status --role billing -o json | jq .roles[0].active.id
  understudy status --role billing --is-active --id a && echo "a is active"
  understudy status --watch`,
		Args: cli.NoArgs,
	}
	s := &statusCommand{options: newOptions(cmd.Flags(), cli.StoreKeys(), []string{"role", "id"})}
	s.Duration(&s.Timeout, "timeout", 5*time.Second, "how long to wait for an answer")
	s.output = cli.Output(cmd.Flags())
	cmd.Flags().BoolVar(&s.follow, "watch", false, "keep running, and show every change")
	cmd.Flags().BoolVar(&s.isActive, "is-active", false, "say by the exit code whether --id is active in --role")
	s.Collect()
	s.Judge = s.judge
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s.out, s.errs = cmd.OutOrStdout(), cmd.ErrOrStderr()
		return s.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			if s.follow {
				return s.watch(ctx, l)
			}
			return s.once(ctx, l, s.askServers(cmd.Context()))
		})
	}
	return cmd
}

// A statusCommand is one call of status.
type statusCommand struct {
	*options
	output           *string
	follow, isActive bool
	first            time.Duration // to the first answer, with follow
	out, errs        io.Writer
}

// judge says what is wrong with the combination of flags.
func (s *statusCommand) judge() error {
	var errs []error
	if s.follow {
		s.first, s.Timeout = s.Timeout, forever
	}
	if s.Role() != "" {
		errs = append(errs, s.CheckName("role", s.Role()))
	}
	switch {
	case !s.isActive:
	case s.follow:
		errs = append(errs, errors.New("is-active: cannot be combined with --watch; leave out one of them"))
	case s.Coordinator.ID == "" && !s.Given("id"):
		errs = append(errs, errors.New("is-active: needs the contender; write --id ID"))
	case s.Role() == "" && !s.Given("role"):
		errs = append(errs, cli.NoRole("role: none is given; write --role ROLE, or set UNDERSTUDY_ROLE"))
	}
	return errors.Join(errs...)
}

// once shows the roles, and says by its error's exit code who is active.
func (s *statusCommand) once(ctx context.Context, l lock.Locker, inspect func(context.Context) inspection) error {
	all, unread := standings(ctx, l, s.asked()...)
	found := inspect(ctx)
	if found.differs != "" {
		defer cli.Say(s.errs, "understudy: warning: "+found.differs+"\n")
	}
	if unread != nil && len(all) == 0 {
		switch text := found.String(); {
		case text != "":
			unread = fmt.Errorf("store %s: %s\n%w", s.Store.Backend, text, unread)
		case found.err != nil && !errors.Is(found.err, errLate) && !tells(s.Explain(unread).Error(), found.err.Error()):
			unread = fmt.Errorf("%w\n%w", s.Explain(unread), found.err) // what is explained in part is left as it is
		}
		return cli.Unreachable(unread)
	}
	r := newReport(s.Store.Backend, found.Health, listen(ctx, l, all))
	shown := r.show(s.out, *s.output)
	s.remark(ctx, l, all)
	if unread != nil {
		return unread
	}
	return errors.Join(shown, s.verdict(r))
}

// remark says on standard error what is wrong with the store, and with the names of roles.
func (s *statusCommand) remark(ctx context.Context, l lock.Locker, all []lock.Standing) {
	texts := map[string]bool{}
	for _, st := range all {
		for _, text := range []string{nameless(st), unknown(ctx, l, st)} {
			if text != "" && !texts[text] {
				texts[text] = true
				cli.Say(s.errs, "understudy: warning: "+text+"\n")
			}
		}
	}
	if len(all) == 0 {
		cli.Say(s.errs, "understudy: nobody has taken part in any role here: start a contender, or look at another store or prefix\n")
	}
}

// verdict is the exit code, as an error without a text.
func (s *statusCommand) verdict(r report) error {
	code := 0
	if len(r.Roles) == 0 {
		code = cli.NotDone
	}
	for _, role := range r.Roles {
		switch {
		case role.Active == nil || role.Active.Silent != "":
			code = cli.NotDone
		case s.isActive && role.Active.ID != s.Coordinator.ID:
			code = another
		}
	}
	if code == 0 {
		return nil
	}
	return cli.Exit(code, nil)
}

// An inspection is what the store's servers say about themselves.
type inspection struct {
	backends.Health
	err     error
	differs string // how they differ from the settings; "": they do not
}

// askServers asks the store's servers for their health, while the rest goes on: they may be far
// away. The function that it returns waits a second more, within the time that its context has, also if the store
// does not answer for lack of a quorum.
func (o *options) askServers(ctx context.Context) func(context.Context) inspection {
	ctx, cancel := context.WithCancelCause(ctx)
	var found inspection
	var both sync.WaitGroup
	row := o.Store.Row()
	both.Go(func() {
		found.Health, found.err = row.Health(ctx, o.Store)
		found.err = o.Explain(found.err)
	})
	both.Go(func() { found.differs = row.Differs(ctx, o.Store) })
	return func(within context.Context) inspection {
		defer cancel(nil)
		more := time.Second
		if end, ok := within.Deadline(); ok {
			more = min(more, time.Until(end))
		}
		defer time.AfterFunc(more, func() { cancel(errLate) }).Stop()
		both.Wait()
		return found
	}
}

var errLate = errors.New("no answer in time")

// asked are the roles that status is about: the named one, or those of the file; none: every role
// that there is.
func (o *options) asked() (names []string) {
	if o.Role() != "" {
		return []string{o.Role()}
	}
	for _, r := range o.Roles {
		if r.Name != "" {
			names = append(names, r.Name)
		}
	}
	return names
}

// standing is the role's standing, once. It tries until ctx is done, and then says what prevented
// it.
func standing(ctx context.Context, l lock.Locker, role string) (lock.Standing, error) {
	all, err := standings(ctx, l, role)
	if err != nil {
		return lock.Standing{}, err
	}
	return all[0], nil
}

// arriving is how long to wait for unnamed roles once the store answers: a Locker shows one after
// another what it read at once.
const arriving = 300 * time.Millisecond

// standings are those of the named roles, or of all that there are, each once, by name. It tries
// until ctx is done, and then says what prevented it. If the record of an unnamed role cannot be
// read, the error says so, and the others are there.
func standings(ctx context.Context, l lock.Locker, roles ...string) ([]lock.Standing, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	if len(roles) == 0 { // nothing says when all have come
		go func() {
			if _, err := standing(watching, l, "any"); err == nil {
				time.AfterFunc(arriving, stop)
			}
		}()
	}
	found, unread := map[string]lock.Standing{}, map[string]error{}
	var why error
	for st, err := range l.Watch(watching, roles...) {
		switch {
		case err == nil:
			cli.Heard(ctx, nil)
			found[st.Role] = st
			delete(unread, st.Role)
		case errors.Is(err, lock.ErrPermanent) && (st.Role == "" || len(roles) > 0):
			return nil, err
		case errors.Is(err, lock.ErrPermanent):
			unread[st.Role] = err
		case watching.Err() == nil:
			if why == nil || !errors.Is(err, context.DeadlineExceeded) { // that a try was too late says less than why others failed
				why = err
			}
			cli.Heard(ctx, err)
			cli.Pause(watching)
		case why == nil: // the last word of a Locker that was trying all the time
			why = err
		}
		if len(roles) > 0 && len(found) == len(roles) {
			break
		}
	}
	if len(found) < len(roles) || len(roles) == 0 && ctx.Err() != nil {
		return nil, fmt.Errorf(noAnswer, cmp.Or(why, errNobody))
	}
	return byName(found), errors.Join(slices.Collect(maps.Values(unread))...)
}

// tells reports whether a text has a cause in it. From which port of ours a connection went says nothing, and how it
// ended is chance.
func tells(text, cause string) bool {
	return strings.Contains(byChance.ReplaceAllString(text, "an end"), byChance.ReplaceAllString(cause, "an end"))
}

var byChance = regexp.MustCompile(`((read|write) tcp \S+->\S+: )?((read|write): )?(connection reset by peer|broken pipe|unexpected EOF|\bEOF\b)|\S+->`)

// noAnswer is what a command says first of a store that has not answered it.
const noAnswer = "the store cannot be reached:\n%w"

// unreachable is the error of a command's one call of the store, where no standing is read before.
func unreachable(err error) error {
	if errors.Is(err, lock.ErrPermanent) || errors.Is(err, lock.ErrRefused) || certs.Failed(err) {
		return cli.Unreachable(err)
	}
	return cli.Unreachable(fmt.Errorf(noAnswer, err))
}

var errNobody = errors.New("nobody answered")

// byName are the standings of a map, in the order of their roles.
func byName(found map[string]lock.Standing) (all []lock.Standing) {
	for _, name := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[name])
	}
	return all
}

// nameless says that the store's record of its identity is gone, and what that costs; else "". A
// contender gives an empty store an identity first, and nothing ever removes it.
func nameless(st lock.Standing) string {
	if st.Store != "" || len(st.Line) == 0 && st.Term.Vacant() {
		return ""
	}
	return "the store has lost its identity, for example because its record was deleted by hand: contenders that have seen it take over nothing. " +
		"If this is still the right store, run: understudy adopt --identity OLD, with the one in their logs"
}

// unknown says that nobody has ever taken part in a role, and which roles there are; else "".
func unknown(ctx context.Context, l lock.Locker, st lock.Standing) string {
	if st.Term.Token != 0 || len(st.Line) > 0 {
		return ""
	}
	return cli.NoPart(ctx, l, st.Role)
}
