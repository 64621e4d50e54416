package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
that is dead. Waits for the outcome and shows it.

Without --to and --selector it is the first standby in line that can take over. One that is not
ready, not healthy or drained gets nothing, and a role that is paused is not handed over. Exits with 1
then, and when the role did not move in time, or moved to another.

With --from nothing is asked of anybody else than that contender: where it is not active there is nothing to
hand over, and that is a success. So a contender that is about to be stopped can give its own role away.
` + cli.Codes{0: "the role has moved; or the contender of --from is not active", cli.NotDone: "refused, as nobody there can take over, or not in time, or another has the role", cli.Unavailable: ""}.String(),
		Example: `  understudy handoff --role billing --raft-peers a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003
  understudy handoff --role billing --to b
  understudy handoff --role billing --selector zone=east,disk=fast
  understudy handoff --role billing --from a --selector release!=41`,
		Args: cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), cli.StoreKeys(), []string{"role"})
	to := cmd.Flags().String("to", "", "the standby (default the next one)")
	selector := cmd.Flags().String("selector", "", "the next standby with these labels: KEY=VALUE, or KEY!=VALUE for one without it; several with commas between them")
	from := cmd.Flags().String("from", "", "hand over from this contender alone, and do nothing if it is not active")
	o.Duration(&o.Timeout, "timeout", time.Minute, "for the outcome")
	o.Collect()
	pick := func(st lock.Standing) (lock.Member, error) { return choose(st, *to) }
	o.Judge = func() error {
		labels, err := parseSelector(*selector)
		if *to != "" && *selector != "" {
			err = errors.Join(err, errors.New("to and selector: give one of them"))
		}
		if labels != nil {
			pick = func(st lock.Standing) (lock.Member, error) { return chooseLabelled(st, labels) }
		}
		if o.Set.Changed("from") {
			err = errors.Join(err, o.CheckName("from", *from))
			pick = onlyFrom(*from, pick)
		}
		return errors.Join(o.OneRole(), err)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return o.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			return o.moveRole(ctx, l, pick, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newStepDown() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "step-down",
		Short: "Have the active give way to the first standby that can take over",
		Long: `Asks the active to hand the role to the first standby in line that is ready, healthy and not drained. Where
there is none it refuses, and exits with 1: pause --stop stops the active without a successor. With --wait
it waits for the outcome, as handoff does.
` + cli.Codes{0: "the active was asked; with --wait the role has moved", cli.NotDone: "refused, as nobody can take over, or not in time", cli.Unavailable: ""}.String(),
		Example: `  understudy step-down --role billing --wait`,
		Args:    cli.NoArgs,
	}
	s := newSteering(cmd, "role")
	s.start("for an answer, and for the outcome", func() error { return s.OneRole() })
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return s.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			if s.wait {
				return s.moveRole(ctx, l, yielding, cmd.OutOrStdout())
			}
			s.out = cmd.OutOrStdout()
			before, target, err := askFor(ctx, l, s.Role(), yielding)
			if err == nil {
				s.say("%s: %s is asked to hand over to %s", s.Role(), before.Holder.ID, target.ID)
				s.say("undo it, once that is done, with: understudy handoff --role %s --to %s%s", word(s.Role()), word(before.Holder.ID), s.sameStore())
			}
			return err
		})
	}
	return cmd
}

// yielding picks whoever can take over.
func yielding(st lock.Standing) (lock.Member, error) {
	m, err := choose(st, "")
	if err != nil && !st.Term.Vacant() && st.Pause.IsZero() {
		err = cli.Exit(cli.NotDone, fmt.Errorf("%w; to stop %s without a successor: understudy pause --role %s --stop", err, st.Term.Holder.ID, word(st.Role)))
	}
	return m, err
}

// moveRole hands a role over, and says what came of it.
func (o *options) moveRole(ctx context.Context, l lock.Locker, pick picker, out io.Writer) error {
	began, role := time.Now(), o.Role()
	before, after, err := handOver(ctx, l, role, pick)
	if none := (notActiveError{}); errors.As(err, &none) {
		_, err = fmt.Fprintln(out, none)
		return err
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %s -> %s, token %d, in %v\nundo it with: understudy handoff --role %s --to %s%s\n", role, before.Holder.ID, after.Holder.ID,
		after.Token, time.Since(began).Round(time.Millisecond), word(role), word(before.Holder.ID), o.sameStore())
	return err
}

// A picker picks the standby that is to have the role.
type picker func(lock.Standing) (lock.Member, error)

// handOver asks, and follows the role until another term stands.
func handOver(ctx context.Context, l lock.Locker, role string, pick picker) (before, after lock.Term, err error) {
	before, target, err := askFor(ctx, l, role, pick)
	if err != nil {
		return before, after, err
	}
	after, err = follow(ctx, l, before, role, target)
	return before, after, err
}

// askFor asks that the role be handed to whom pick picks.
func askFor(ctx context.Context, l lock.Locker, role string, pick picker) (before lock.Term, target lock.Member, err error) {
	st, err := standing(ctx, l, role)
	if err != nil {
		return before, target, cli.Unreachable(err)
	}
	if text := unknown(ctx, l, st); text != "" {
		return before, target, cli.Exit(cli.NotDone, errors.New(text))
	}
	before = st.Term
	if target, err = pick(st); err != nil {
		return before, target, err
	}
	for again := false; ; again = true {
		err := l.Ask(ctx, role, lock.Request{Token: before.Token, To: target.Session, By: by()})
		switch lock.OutcomeOf(err) {
		case lock.OK:
			return before, target, nil
		case lock.Moved:
			if again { // the first call may have been heard: what came of it shows
				return before, target, nil
			}
			return before, target, cli.Exit(cli.NotDone, errors.New("the term ended meanwhile, or the role was paused; look at status and ask again"))
		case lock.Unknown: // the server that was asked may have died, and the others be well
			if errors.Is(err, lock.ErrRefused) { // it has answered: this user may only read, say
				return before, target, cli.Unreachable(err)
			}
			if cli.Pause(ctx); ctx.Err() == nil {
				continue
			}
			err = fmt.Errorf("it is not known whether the request stands: %w", err)
		}
		return before, target, cli.Unreachable(err)
	}
}

// answerTrips are how many round trips an answer takes at most: the wish goes out to the standby,
// which reads and writes, and that comes back to us.
const answerTrips = 4

// follow waits until another term stands. A standby that does not answer is dead, as far as
// anybody knows, and the wish is taken back.
func follow(ctx context.Context, l lock.Locker, before lock.Term, role string, target lock.Member) (lock.Term, error) {
	h := handing{l: l, role: role, before: before, target: target, began: time.Now()}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	patience := answerTrips*coordinator.Config{TTL: target.TTL}.Try() + time.Second
	unanswered := time.AfterFunc(patience, stop)
	defer unanswered.Stop()
	for st, err := range l.Watch(watching, role) {
		if st.Request.Answered || err == nil && st.Term.Token != before.Token {
			unanswered.Stop()
		}
		if err != nil {
			cli.Pause(watching)
		} else if after, over, err := h.seen(st); over {
			return after, err
		}
	}
	if ctx.Err() == nil {
		return h.withdraw(ctx, patience)
	}
	return h.late(ctx)
}

// A handing is a handoff that was asked for.
type handing struct {
	l      lock.Locker
	role   string
	before lock.Term
	target lock.Member
	began  time.Time

	ours  bool         // our request was seen
	other lock.Request // the one that came after it
}

// seen takes in a standing. If that shows what came of the request, it is over.
func (h *handing) seen(st lock.Standing) (after lock.Term, over bool, err error) {
	switch asked := st.Request; {
	case asked.Token != h.before.Token:
	case asked.To == h.target.Session:
		h.ours = true
	case h.ours && asked.To != "":
		h.other = asked
	}
	switch {
	case st.Term.Token == h.before.Token && !st.Pause.IsZero():
		err = fmt.Errorf("the role is %s meanwhile, and the request is void", pausedBy(st.Pause))
	case st.Term.Token == h.before.Token && !st.Term.Vacant() && !inLine(st, h.target):
		err = fmt.Errorf("the session of %s that was asked for has ended, and %s stays active: look at status and ask again", h.target.ID, h.before.Holder.ID)
	case st.Term.Token == h.before.Token || st.Term.Vacant():
		return after, false, nil
	case st.Term.Holder.Session == h.target.Session:
		return st.Term, true, nil
	default:
		return st.Term, true, cli.Exit(cli.NotDone, errors.New(instead(st, h.before, h.target, h.other)))
	}
	return after, true, cli.Exit(cli.NotDone, err)
}

// look reads the role once more when the time is over. Where the store does not answer here, nothing is said of the others.
func (h *handing) look(ctx context.Context) (st lock.Standing, after lock.Term, over bool, err error) {
	st, err = lastLook(ctx, h.l, h.role)
	if err != nil {
		return st, after, true, cli.Unreachable(fmt.Errorf("the store does not answer here any more, so it is not known whether %s has the role now, or the request stands: look at status\n%w", h.target.ID, err))
	}
	after, over, err = h.seen(st)
	return st, after, over, err
}

// late says why the active still has the role when the time is over, as far as its beats show it.
func (h *handing) late(ctx context.Context) (lock.Term, error) {
	waited := time.Since(h.began)
	st, after, over, err := h.look(ctx)
	if over {
		return after, err
	}
	was := h.before.Holder
	text := was.ID + " has not handed over: its work may take longer to stop (--stop-timeout); the request stands"
	switch {
	case st.Term.Vacant():
		text = was.ID + " has given the role up, and nobody has taken it: see understudy why"
	case fellSilent(h.before, st, waited):
		text = fmt.Sprintf("%s has not handed over, and has not beaten since it was asked: it hangs, is dead, or is cut off from the store; "+
			"if it stays silent, a standby takes over within %v of its last beat", was.ID, was.TTL+was.Skew)
	}
	return after, cli.Exit(cli.NotDone, errors.New(text))
}

// fellSilent reports whether the active has not beaten since it was asked.
func fellSilent(before lock.Term, now lock.Standing, waited time.Duration) bool {
	h := now.Term.Holder
	return waited >= h.TTL/2 && now.Term.Token == before.Token && h.Beat == before.Holder.Beat
}

// withdraw takes back a wish that the standby did not answer, and says so.
func (h *handing) withdraw(ctx context.Context, patience time.Duration) (lock.Term, error) {
	text := fmt.Sprintf("%s did not answer within %v: it may be dead, cut off from the store, or unhealthy", h.target.ID, patience)
	back := h.l.Ask(ctx, h.role, lock.Request{Token: h.before.Token})
	st, after, over, err := h.look(ctx)
	switch {
	case over:
		return after, err
	case back != nil && !errors.Is(back, lock.ErrMoved):
		return after, cli.Unreachable(fmt.Errorf("%s, and the request stands, as the store did not take it back: %w", text, back))
	case st.Term.Vacant():
		return after, cli.Exit(cli.NotDone, fmt.Errorf("%s, and the term of %s has ended meanwhile: look at status", text, h.before.Holder.ID))
	}
	text += "; the request is taken back, and " + h.before.Holder.ID
	if fellSilent(h.before, st, patience) {
		return after, cli.Exit(cli.NotDone, fmt.Errorf("%s has not beaten since either: look at status", text))
	}
	return after, cli.Exit(cli.NotDone, fmt.Errorf("%s stays active", text))
}

// instead says why another than the target has the role now.
func instead(st lock.Standing, before lock.Term, target lock.Member, other lock.Request) string {
	text := fmt.Sprintf("%s is active instead of %s", st.Term.Holder.ID, target.ID)
	was := before.Holder
	switch {
	case other.To != "":
		return fmt.Sprintf("%s: %s asked for another handoff meanwhile", text, cmp.Or(other.By, "somebody"))
	case !inLine(st, target):
		return text + ", which is gone: it ended before it could take the role, or gave it up at once; see understudy why"
	case was.Session != st.Term.Holder.Session && !inLine(st, was):
		return fmt.Sprintf("%s: %s did not hand over, or ended right after that; see understudy why", text, was.ID)
	}
	return text + ", which stands by: it did not take the role, or gave it up at once, as where its command cannot start; its log says why"
}

func inLine(st lock.Standing, m lock.Member) bool {
	return slices.ContainsFunc(st.Line, func(one lock.Member) bool { return one.Session == m.Session })
}

// A notActiveError says that a contender has nothing to hand over.
type notActiveError struct{ role, id string }

func (e notActiveError) Error() string {
	return fmt.Sprintf("%s: %s is not active, and has nothing to hand over", e.role, e.id)
}

// onlyFrom picks nobody where another contender than that one is active.
func onlyFrom(id string, pick picker) picker {
	return func(st lock.Standing) (lock.Member, error) {
		if st.Term.Vacant() || st.Term.Holder.ID != id {
			return lock.Member{}, notActiveError{st.Role, id}
		}
		return pick(st)
	}
}
