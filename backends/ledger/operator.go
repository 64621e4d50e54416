package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// MaxDecisions is how many roles can be paused at a time, and for how many contenders something
// can be set.
const MaxDecisions = 4096

var _ lock.Operator = (*locker)(nil)

func (l *locker) Pause(ctx context.Context, role string, p lock.Pause) error {
	p.At, p.Until = p.At.UTC().Round(0), p.Until.UTC().Round(0)
	_, err := l.propose(ctx, Command{Op: Pause, Role: role, Pause: p})
	return err
}

func (l *locker) Resume(ctx context.Context, role string, seen lock.Pause) error {
	seen.At, seen.Until = seen.At.UTC().Round(0), seen.Until.UTC().Round(0)
	_, err := l.propose(ctx, Command{Op: Resume, Role: role, Pause: seen})
	return err
}

func (l *locker) Configure(ctx context.Context, id string, s lock.Settings) error {
	s.At, s.Priorities = s.At.UTC().Round(0), maps.Clone(s.Priorities)
	_, err := l.propose(ctx, Command{Op: Configure, Contender: lock.Contender{ID: id}, Settings: s})
	return err
}

func (l *locker) Configured(ctx context.Context) (map[string]lock.Settings, error) {
	r, err := l.propose(ctx, Command{Op: Configured})
	return r.Settings, err
}

func (l *locker) Record(ctx context.Context, role string, e lock.Event) error {
	e.At, e.Parts = e.At.UTC().Round(0), slices.Clone(e.Parts)
	_, err := l.propose(ctx, Command{Op: Record, Role: role, Event: e})
	return err
}

func (l *locker) History(ctx context.Context, role string) ([]lock.Event, error) {
	r, err := l.propose(ctx, Command{Op: History, Role: role})
	return r.History, err
}

func (l *locker) Fence(ctx context.Context, role string, f lock.Fence) error {
	f.At = f.At.UTC().Round(0)
	_, err := l.propose(ctx, Command{Op: Fence, Role: role, Fence: f})
	return err
}

// pause also withdraws the request about the term: nobody may act on it.
func (l *Ledger) pause(c Command) Result {
	r := decide(&l.Paused, c.Role, c.Pause, "paused roles")
	if role, ok := l.Roles[c.Role]; ok && l.isPaused(c.Role) {
		role.Request = lock.Request{}
		l.Roles[c.Role] = role
	}
	return r
}

// resume ends the pause that was seen.
func (l *Ledger) resume(c Command) Result {
	if l.isPaused(c.Role) && !l.Paused[c.Role].Same(c.Pause) {
		return Result{Code: Moved, Why: "another pause is in force: " + l.whyPaused(c.Role)}
	}
	return decide(&l.Paused, c.Role, lock.Pause{}, "")
}

func (l *Ledger) isPaused(role string) bool { return !l.Paused[role].IsZero() }

func (l *Ledger) whyPaused(role string) string {
	return fmt.Sprintf("role %q is paused by %q", role, l.Paused[role].By)
}

func (l *Ledger) configure(c Command) Result {
	return decide(&l.Settings, c.Contender.ID, c.Settings, "contenders with settings")
}

// configured returns a copy: in memory the caller could change ours.
func (l *Ledger) configured() Result {
	r := Result{Settings: maps.Clone(l.Settings)}
	for id, s := range r.Settings {
		s.Priorities = maps.Clone(s.Priorities)
		r.Settings[id] = s
	}
	return r
}

// decide stores a decision in place of the last one about the same thing.
func decide[D interface{ IsZero() bool }](all *map[string]D, name string, d D, what string) Result {
	_, before := (*all)[name]
	switch {
	case d.IsZero():
		if delete(*all, name); len(*all) == 0 {
			*all = nil
		}
		return Result{Changed: before}
	case !before && len(*all) >= MaxDecisions:
		return Result{Code: Permanent, Why: fmt.Sprintf("%s: there are %d, which is the limit: undo one first", what, len(*all))}
	case *all == nil:
		*all = map[string]D{}
	}
	(*all)[name] = d
	return Result{Changed: true}
}

func (l *Ledger) record(c Command) Result {
	if l.History == nil {
		l.History = map[string][]lock.Event{}
	}
	l.History[c.Role], _ = lock.AddEvent(l.History[c.Role], c.Event)
	return Result{}
}

// history returns a copy, too.
func (l *Ledger) history(c Command) Result {
	all := slices.Clone(l.History[c.Role])
	for i := range all {
		all[i].Parts = slices.Clone(all[i].Parts)
	}
	return Result{History: all}
}

// fence writes an intent to have the host of a role's holder killed, one for each beat.
func (l *Ledger) fence(c Command) Result {
	r := l.Roles[c.Role]
	id := r.Term.Holder.Session
	stands := l.Fences[id]
	switch {
	case r.Term.Token != c.Fence.Token || l.term(r).Vacant():
		return Result{Code: Moved}
	case l.Sessions[id].Beat != c.Fence.Beat:
		return Result{Code: Moved}
	case stands.Same(c.Fence):
		return Result{}
	case stands.Beat == c.Fence.Beat:
		return Result{Code: Moved}
	case l.Fences == nil:
		l.Fences = map[lock.SessionID]lock.Fence{}
	}
	l.Fences[id] = c.Fence
	return Result{Changed: true}
}
