package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

// choose finds the standby of that ID; "": the next one that can take over.
func choose(st lock.Standing, to string) (lock.Member, error) {
	if err := movable(st); err != nil {
		return lock.Member{}, err
	}
	if to == "" {
		return nextOf(st, st.Line)
	}
	if to == st.Term.Holder.ID {
		return lock.Member{}, fmt.Errorf("to %q: is active already", to)
	}
	for _, m := range st.Line {
		if m.ID == to {
			return nextOf(st, []lock.Member{m})
		}
	}
	return lock.Member{}, fmt.Errorf("to %q: does not stand by; these do: %s", to, names(st.Line))
}

// chooseLabelled finds the next standby with these labels that can take over.
func chooseLabelled(st lock.Standing, labels []label) (lock.Member, error) {
	if err := movable(st); err != nil {
		return lock.Member{}, err
	}
	var fit []lock.Member
	for _, m := range st.Line {
		if !slices.ContainsFunc(labels, func(l label) bool { return (m.Labels[l.key] == l.value) == l.not }) {
			fit = append(fit, m)
		}
	}
	if len(fit) == 0 {
		return lock.Member{}, cli.Exit(cli.NotDone, fmt.Errorf("selector: no standby has these labels; these stand by: %s", names(st.Line)))
	}
	return nextOf(st, fit)
}

// movable says why a role cannot be handed to anybody.
func movable(st lock.Standing) error {
	switch {
	case !st.Pause.IsZero():
		return cli.Exit(cli.NotDone, fmt.Errorf("role %q: is %s; first run: understudy resume --role %s", st.Role, pausedBy(st.Pause), word(st.Role)))
	case st.Term.Vacant():
		return cli.Exit(cli.NotDone, fmt.Errorf("role %q: nobody is active", st.Role)) // who asks later may find somebody
	case len(st.Line) == 0:
		return cli.Exit(cli.NotDone, fmt.Errorf("role %q: nobody stands by beside %s", st.Role, st.Term.Holder.ID))
	}
	return nil
}

// nextOf is the first of some standbys that can take over.
func nextOf(st lock.Standing, some []lock.Member) (lock.Member, error) {
	m, ok, refusal := firstFit(some)
	if !ok {
		return m, cli.Exit(cli.NotDone, fmt.Errorf("role %q: %s, and %s stays active", st.Role, refusal, st.Term.Holder.ID))
	}
	return m, nil
}

// firstFit is the first of some standbys that can take over, or why none can.
func firstFit(some []lock.Member) (m lock.Member, ok bool, refusal string) {
	var why []string
	for _, m := range some {
		text := unfit(m)
		if text == "" {
			return m, true, ""
		}
		why = append(why, m.ID+" is "+text)
	}
	if len(why) == 0 {
		return m, false, "nobody stands by"
	}
	return m, false, strings.Join(why, ", ")
}

// unfit says why a standby would not take over, or only if nobody else does; "": it would.
func unfit(m lock.Member) string {
	switch {
	case m.Settings.Drained:
		return "drained by " + m.Settings.By
	case m.Ready():
		return ""
	case m.Lowered() == lock.NotReady:
		return "not ready"
	case m.Lowered() == lock.Recovering:
		return "recovering from a failure"
	}
	return "not healthy"
}

func names(some []lock.Member) string {
	var all []string
	for _, m := range some {
		all = append(all, m.ID)
	}
	return strings.Join(all, ", ")
}

// A label is one that a standby must have, or, with not, must not have.
type label struct {
	key, value string
	not        bool
}

// parseSelector reads KEY=VALUE or KEY!=VALUE, several with commas between them; "": nil.
func parseSelector(text string) (labels []label, err error) {
	if text == "" {
		return nil, nil
	}
	wanted := map[string]string{}
	for one := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(one, "=")
		key, not := strings.CutSuffix(key, "!")
		if !ok || key == "" {
			return nil, fmt.Errorf("selector %q: %q is not a label; write KEY=VALUE or KEY!=VALUE", text, one)
		}
		if before, twice := wanted[key]; twice && !not && before != value {
			return nil, fmt.Errorf("selector %q: asks for %s=%s and for %s; no standby has both", text, key, before, one)
		}
		if !not {
			wanted[key] = value
		}
		labels = append(labels, label{key, value, not})
	}
	return labels, nil
}
