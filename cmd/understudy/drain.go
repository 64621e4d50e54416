package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

func newDrain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Make a contender give up its roles, and take none",
		Long: `A drained contender stops its work, gives its roles back, takes no role, and is last in line,
until you undo it. This is kept under the contender's ID, so it outlasts restarts. The process keeps
running: stop it, update its machine, start it, and undo.

An ID that is neither active nor in line, and for which nothing is set, needs --force: it may be
misspelt. --wait waits until the contender is active in no role.
` + cli.Codes{0: "it is drained, or back in line; with --wait it has taken effect", cli.NotDone: "refused, as nobody has that ID, or not in time", cli.Unavailable: ""}.String(),
		Example: `  understudy drain --id host1 --wait
  understudy drain --id host1 --undo`,
		Args: cli.NoArgs,
	}
	d := &draining{steering: newSteering(cmd, "id")}
	cmd.Flags().BoolVar(&d.undo, "undo", false, "it may have roles again")
	d.forced()
	d.start("how long to wait for an answer, and for --wait", func() error { return d.CheckName("id", d.Coordinator.ID) })
	cmd.Flags().Lookup("id").Usage = "the contender"
	cmd.RunE = d.does(d.run)
	return cmd
}

// forced adds the flag for an ID that is not in use.
func (s *steering) forced() {
	s.cmd.Flags().BoolVar(&s.force, "force", false, "even if nobody has the ID")
}

// known reports what is set for the contender, and the roles that it is in.
func (s *steering) known(ctx context.Context, l lock.Locker, op lock.Operator, roles ...string) (set lock.Settings, in []lock.Standing, err error) {
	id := s.Coordinator.ID
	all, err := standings(ctx, l, roles...)
	if err != nil && len(all) == 0 {
		return set, nil, cli.Unreachable(err)
	}
	configured, err := op.Configured(ctx)
	if err != nil {
		return set, nil, cli.Unreachable(err)
	}
	for _, st := range all {
		if _, ok := member(st, id); ok {
			in = append(in, st)
		}
	}
	set, ok := configured[id]
	if len(in) > 0 || ok || s.force {
		return set, in, nil
	}
	where := "any role"
	if len(roles) > 0 {
		where = fmt.Sprintf("role %q", roles[0])
	}
	return set, nil, fmt.Errorf("id %q: is neither active nor standing by in %s; if the ID is right, and will be used later, give --force", id, where)
}

// member is the contender of that ID, as a role shows it.
func member(st lock.Standing, id string) (lock.Member, bool) {
	if isActive(st, id) {
		return st.Term.Holder, true
	}
	for _, m := range st.Line {
		if m.ID == id {
			return m, true
		}
	}
	return lock.Member{}, false
}

func isActive(st lock.Standing, id string) bool { return !st.Term.Vacant() && st.Term.Holder.ID == id }

// set replaces what is set for the contender. A change of priority keeps the name of who drained it.
func (s *steering) set(ctx context.Context, op lock.Operator, was, to lock.Settings) error {
	if !was.Drained || !to.Drained {
		to.By, to.At = by(), time.Now()
	}
	return cli.Unreachable(unwritten(op.Configure(ctx, s.Coordinator.ID, to)))
}

// A draining is one call of drain.
type draining struct {
	*steering
	undo bool
}

func (d *draining) run(ctx context.Context, l lock.Locker, op lock.Operator) error {
	id := d.Coordinator.ID
	set, in, err := d.known(ctx, l, op)
	switch {
	case err != nil:
		return err
	case d.undo && !set.Drained:
		return cli.Exit(cli.NotDone, fmt.Errorf("id %q: is not drained", id))
	}
	was := set
	set.Drained = !d.undo
	if err := d.set(ctx, op, was, set); err != nil {
		return err
	}
	if d.undo {
		d.say("%s is back in line; it was drained by %s", id, was.By)
		d.say("undo it with: understudy drain --id %s%s", word(id), d.sameStore())
	} else {
		d.say("%s is drained: it gives up its roles and takes none, even after a restart", id)
		d.say("undo it with: understudy drain --id %s --undo%s", word(id), d.sameStore())
	}
	for _, st := range in {
		if err := d.follow(ctx, l, st); err != nil {
			return err
		}
	}
	return nil
}

// follow reports the progress of a role that the contender is in.
func (d *draining) follow(ctx context.Context, l lock.Locker, st lock.Standing) error {
	id := d.Coordinator.ID
	active := isActive(st, id) && !d.undo
	if active && !d.wait {
		d.say("%s: %s is active until its work has stopped", st.Role, id)
	}
	if active {
		_, _, refusal := firstFit(st.Line)
		switch i := slices.IndexFunc(st.Line, lock.Member.Competes); {
		case refusal == "":
		case i < 0:
			d.say("%s: nobody else takes over: %s", st.Role, refusal)
		default:
			d.say("%s: nobody else is fit, so %s takes over although it is %s", st.Role, st.Line[i].ID, unfit(st.Line[i]))
		}
	}
	if !d.wait {
		return nil
	}
	late := fmt.Sprintf("%s is still active in role %q: its work may take longer to stop (--stop-timeout), or it is silent: status says which", id, st.Role)
	now, err := await(ctx, l, st.Role, late, func(st lock.Standing) bool {
		m, here := member(st, id)
		return !here || m.Settings.Drained != d.undo && (d.undo || !isActive(st, id))
	})
	if err == nil && active && now.Term.Vacant() {
		d.say("%s: %s has given it back", st.Role, id)
	} else if err == nil && active {
		d.say("%s: %s is active, token %d", st.Role, now.Term.Holder.ID, now.Term.Token)
	}
	return err
}

func newPriority() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "priority --id ID --role ROLE N",
		Short: "Override the priority of a contender",
		Long: `The standbys of a role are in line by priority, the greatest first. N replaces the priority that
the contender was started with, until you undo it. It is kept under the contender's ID, so it outlasts
restarts. It moves no role: the active stays active; use handoff to move the role. A priority does not
make a contender ready that is not. Write a negative N after two dashes: -- -5.

An ID that is neither active nor in line for the role, and for which nothing is set, needs --force: it may
be misspelt.
` + cli.Codes{0: "the priority holds", cli.NotDone: "refused, as nobody has that ID in the role, or not in time", cli.Unavailable: ""}.String(),
		Example: `  understudy priority --id host1 --role billing 10
  understudy priority --id host1 --role billing --undo`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%s takes one number; it was given %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
	}
	p := &prioritizing{steering: newSteering(cmd, "id", "role")}
	cmd.Flags().BoolVar(&p.undo, "undo", false, "use its own priority again")
	p.forced()
	p.start("how long to wait for an answer, and until the line shows it", p.judge)
	cmd.Flags().Lookup("id").Usage = "the contender"
	run := p.does(p.run)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p.args = args
		return run(cmd, args)
	}
	return cmd
}

// A prioritizing is one call of priority.
type prioritizing struct {
	*steering
	undo bool
	args []string
	n    int
}

func (p *prioritizing) judge() (err error) {
	errs := []error{p.CheckName("id", p.Coordinator.ID), p.OneRole()}
	switch {
	case p.undo && len(p.args) > 0:
		errs = append(errs, fmt.Errorf("priority %q: is given with --undo; leave out one of them", p.args[0]))
	case p.undo:
	case len(p.args) == 0:
		errs = append(errs, errors.New("priority: missing; write a number, or --undo"))
	default:
		if p.n, err = strconv.Atoi(p.args[0]); err != nil || p.n < -lock.MaxPriority || p.n > lock.MaxPriority {
			errs = append(errs, fmt.Errorf("priority %q: must be a number from %d to %d", p.args[0], -lock.MaxPriority, lock.MaxPriority))
		}
	}
	return errors.Join(errs...)
}

func (p *prioritizing) run(ctx context.Context, l lock.Locker, op lock.Operator) error {
	id, role := p.Coordinator.ID, p.Role()
	set, in, err := p.known(ctx, l, op, role)
	if err != nil {
		return err
	}
	before := set
	was, ok := before.Priorities[role]
	if p.undo && !ok {
		return cli.Exit(cli.NotDone, fmt.Errorf("id %q: no priority is set for it in role %q", id, role))
	}
	set.Priorities = maps.Clone(set.Priorities)
	if p.undo {
		delete(set.Priorities, role)
	} else {
		if set.Priorities == nil {
			set.Priorities = map[string]int{}
		}
		set.Priorities[role] = p.n
	}
	if err := p.set(ctx, op, before, set); err != nil {
		return err
	}
	again := fmt.Sprintf("understudy priority --id %s --role %s%s -- %d", word(id), word(role), p.sameStore(), was)
	switch {
	case p.undo:
		p.say("%s has its own priority in %s again; %d was set", id, role, was)
	case ok:
		p.say("%s has priority %d in %s; %d was set", id, p.n, role, was)
	default:
		p.say("%s has priority %d in %s instead of its own, even after a restart; the active stays active", id, p.n, role)
		again = fmt.Sprintf("understudy priority --id %s --role %s --undo%s", word(id), word(role), p.sameStore())
	}
	p.say("undo it with: %s", again)
	if !p.wait || len(in) == 0 {
		return nil
	}
	_, err = await(ctx, l, role, "the line does not show it", func(st lock.Standing) bool {
		m, here := member(st, id)
		shown, set := m.Settings.Priorities[role]
		return !here || set != p.undo && (p.undo || shown == p.n)
	})
	return err
}
