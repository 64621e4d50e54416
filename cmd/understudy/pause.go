package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newPause() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Keep everybody from taking a role over",
		Long: `Until the role is resumed nobody takes it over, whatever happens to the active, and no handoff
is made. The active works on; with --stop its work is told to stop, within its stop timeout,
and then nobody has the role. If the work ends by itself, it is not started again. Another
pause replaces the current one. A pause outlasts every restart.

With --until the contenders resume the role themselves once that time has passed by their own
clocks, if one of them runs and reaches the store. Nothing else compares a clock.

Exits with 1 if nobody ever took part in the role, and if what --wait waits for does not happen:
that everybody can see the pause, and with --stop that the role was given back.
` + cli.Codes{0: "it is paused; with --wait it has taken effect", cli.NotDone: "nobody has taken part in the role, or not in time", cli.Unavailable: ""}.String(),
		Example: `  understudy pause --role billing --why "a new disk" --until 30m
  understudy pause --role billing --stop --wait
  understudy pause --role billing --until 2026-12-24T06:00:00Z`,
		Args: cli.NoArgs,
	}
	p := &pausing{steering: newSteering(cmd, "role")}
	set := cmd.Flags()
	set.StringVar(&p.until, "until", "", "end it at this time: 30m from now, or 2026-12-24T06:00:00Z (default never)")
	set.BoolVar(&p.pause.Stop, "stop", false, "stop the active's work, too")
	set.StringVar(&p.pause.Why, "why", "", "a reason for people, shown by status")
	p.start("how long to wait for an answer, and for --wait", p.judge)
	cmd.RunE = p.does(p.run)
	return cmd
}

// A steering is one call of a command by which an operator decides something.
type steering struct {
	*options
	cmd   *cobra.Command
	wait  bool
	out   io.Writer
	force bool
}

func newSteering(cmd *cobra.Command, keys ...string) *steering {
	return &steering{options: newOptions(cmd.Flags(), cli.StoreKeys(), keys), cmd: cmd}
}

// start adds the flags that every such command has, and sets what checks them.
func (s *steering) start(timeout string, judge func() error) {
	s.cmd.Flags().BoolVar(&s.wait, "wait", false, "wait until it has taken effect")
	s.Duration(&s.Timeout, "timeout", time.Minute, timeout)
	s.Collect()
	s.Judge = judge
}

// does is a command that needs a store which keeps operators' decisions.
func (s *steering) does(run func(ctx context.Context, l lock.Locker, op lock.Operator) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		s.out = cmd.OutOrStdout()
		return s.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			op, ok := l.(lock.Operator)
			if !ok {
				return cli.Mistake(fmt.Errorf("backend %q: does not keep operators' decisions; every store that comes with understudy does", s.Store.Backend))
			}
			return run(ctx, l, op)
		})
	}
}

// say prints a line for people.
func (s *steering) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// sameStore are the flags by which a command was told its store: one that is shown is to reach that, too.
func (o *options) sameStore() (text string) {
	o.Set.Visit(func(f *pflag.Flag) {
		if f.Name == "backend" || f.Name == "config" || strings.HasPrefix(f.Name, o.Store.Backend+"-") {
			text += " --" + f.Name + " " + word(f.Value.String())
		}
	})
	return text
}

// word is a name as a shell takes it.
func word(name string) string {
	if regexp.MustCompile(`^[\p{L}\p{N}_./:@%+=,-]+$`).MatchString(name) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// stands is the role's standing, if anybody ever took part in it.
func (s *steering) stands(ctx context.Context, l lock.Locker) (lock.Standing, error) {
	st, err := standing(ctx, l, s.Role())
	if err != nil {
		return st, cli.Unreachable(err)
	}
	if text := unknown(ctx, l, st); text != "" {
		return st, cli.Exit(cli.NotDone, errors.New(text))
	}
	return st, nil
}

// by is the operator's name.
func by() string {
	name := "operator"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	host, _ := os.Hostname()
	return name + "@" + host
}

// unwritten says of a write that had no answer that it may stand all the same.
func unwritten(err error) error {
	if err == nil || lock.OutcomeOf(err) != lock.Unknown || errors.Is(err, lock.ErrRefused) {
		return err
	}
	return fmt.Errorf("it is not known whether that was written: look at status\n%w", err)
}

// await waits until a role is as wanted. late says what has not happened if it is not.
func await(ctx context.Context, l lock.Locker, role, late string, ok func(lock.Standing) bool) (lock.Standing, error) {
	for st, err := range l.Watch(ctx, role) {
		if err == nil && ok(st) {
			return st, nil
		}
		if err != nil {
			cli.Pause(ctx)
		}
	}
	st, err := lastLook(ctx, l, role)
	switch {
	case err != nil:
		return st, cli.Unreachable(fmt.Errorf("it is written, but then the store could not be reached, so it is not known what came of it: look at status\n%w", err))
	case ok(st):
		return st, nil
	}
	return st, cli.Exit(cli.NotDone, fmt.Errorf("it is written, but within --timeout %s", late))
}

// lastLook reads a role when a wait for it is over: a watch from here may be late, or hang, and says nothing of others then.
func lastLook(ctx context.Context, l lock.Locker, role string) (lock.Standing, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return standing(ctx, l, role)
}

// A pausing is one call of pause.
type pausing struct {
	*steering
	until string
	pause lock.Pause
}

func (p *pausing) judge() error {
	p.pause.By, p.pause.At = by(), time.Now()
	var late error
	p.pause.Until, late = parseUntil(p.until, p.pause.At)
	return errors.Join(p.OneRole(), late, lock.CheckPause(p.pause))
}

// parseUntil reads a time or a duration from now; "": the zero time.
func parseUntil(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		if !at.After(now) {
			return time.Time{}, fmt.Errorf("until %q: is in the past: it is now %s; give a later time, or a duration such as 30m", text, now.Format(time.RFC3339))
		}
		return at, nil
	}
	d, err := config.ParseDuration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("until %q: is neither a time such as 2026-12-24T06:00:00Z nor a duration above 0 such as 30m", text)
	}
	return now.Add(d), nil
}

func (p *pausing) run(ctx context.Context, l lock.Locker, op lock.Operator) error {
	before, err := p.stands(ctx, l)
	if err != nil {
		return err
	}
	if err := op.Pause(ctx, p.Role(), p.pause); err != nil {
		return cli.Unreachable(unwritten(err))
	}
	p.say("%s is %s: nobody takes over, and %s", p.Role(), pausedBy(p.pause), whoGoesOn(before, p.pause))
	if !before.Pause.IsZero() {
		p.say("that replaces: %s", pausedBy(before.Pause))
		p.say("put that one back with: %s%s", pauseAgain(p.Role(), before.Pause), p.sameStore())
	}
	p.say("undo it with: understudy resume --role %s%s", word(p.Role()), p.sameStore())
	if !p.wait {
		return nil
	}
	late := "the store has not shown it"
	if p.pause.Stop {
		late = "the active has not given the role back: its work may take longer to stop (--stop-timeout), or it is silent: status says which"
	}
	st, err := await(ctx, l, p.Role(), late, func(st lock.Standing) bool {
		return st.Pause.Same(p.pause) && (!p.pause.Stop || st.Term.Vacant())
	})
	if err == nil && st.Term.Vacant() {
		p.say("%s: nobody is active", p.Role())
	}
	return err
}

// pausedBy says who paused, why and until when.
func pausedBy(p lock.Pause) string {
	text := "paused by " + p.By
	if !p.Until.IsZero() {
		text += " until " + p.Until.Local().Format(time.RFC3339)
	}
	if p.Why != "" {
		text += " (" + p.Why + ")"
	}
	return text
}

// pauseAgain is the command that pauses a role as it was paused before.
func pauseAgain(role string, p lock.Pause) string {
	text := "understudy pause --role " + word(role)
	if p.Stop {
		text += " --stop"
	}
	if !p.Until.IsZero() {
		text += " --until " + p.Until.UTC().Format(time.RFC3339)
	}
	if p.Why != "" {
		text += " --why " + word(p.Why)
	}
	return text
}

// whoGoesOn says what a pause means for the active of a role that stood so before.
func whoGoesOn(before lock.Standing, p lock.Pause) string {
	active := before.Term.Holder.ID
	switch {
	case before.Term.Vacant():
		return "nobody is active"
	case p.Stop:
		return active + " is told to stop"
	case before.Request.Answered: // that is void now, and what has stopped for it is not begun again
		return active + " may have stopped for a handoff: then nobody is active until the role is resumed"
	}
	return active + " works on"
}

func newResume() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "End the pause of a role",
		Long: `Ends the current pause, and no other that replaces it meanwhile. Exits with 1 if there is none.
With --wait it waits until somebody is active.
` + cli.Codes{0: "it is resumed; with --wait somebody is active", cli.NotDone: "it was not paused, or not in time", cli.Unavailable: ""}.String(),
		Example: `  understudy resume --role billing --wait`,
		Args:    cli.NoArgs,
	}
	s := newSteering(cmd, "role")
	s.start("how long to wait for an answer, and for a new active", func() error { return s.OneRole() })
	cmd.RunE = s.does(s.resume)
	return cmd
}

func (s *steering) resume(ctx context.Context, l lock.Locker, op lock.Operator) error {
	st, err := standing(ctx, l, s.Role())
	switch {
	case err != nil:
		return cli.Unreachable(err)
	case st.Pause.IsZero():
		if text := unknown(ctx, l, st); text != "" {
			return cli.Exit(cli.NotDone, errors.New(text))
		}
		return cli.Exit(cli.NotDone, fmt.Errorf("role %q: is not paused", s.Role()))
	}
	err = op.Resume(ctx, s.Role(), st.Pause)
	switch {
	case errors.Is(err, lock.ErrMoved):
		return cli.Exit(cli.NotDone, fmt.Errorf("role %q: another pause has replaced it; look at status", s.Role()))
	case err != nil:
		return cli.Unreachable(unwritten(err))
	}
	s.say("%s is resumed; it was %s", s.Role(), pausedBy(st.Pause))
	s.say("undo it with: %s%s", pauseAgain(s.Role(), st.Pause), s.sameStore())
	if !s.wait {
		return nil
	}
	st, err = await(ctx, l, s.Role(), "nobody has become active: is there a standby?", func(st lock.Standing) bool { return !st.Term.Vacant() })
	if err == nil {
		s.say("%s: %s is active, token %d", s.Role(), st.Term.Holder.ID, st.Term.Token)
	}
	return err
}
