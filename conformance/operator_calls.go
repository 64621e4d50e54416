package conformance

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// decisions are all calls of a lock.Operator that would write.
func decisions(op lock.Operator, role, id string) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Pause":     func(ctx context.Context) error { return op.Pause(ctx, role, pauseFor("a context")) },
		"Configure": func(ctx context.Context) error { return op.Configure(ctx, id, lock.Settings{By: "x", Drained: true}) },
		"Fence": func(ctx context.Context) error {
			return op.Fence(ctx, role, lock.Fence{Token: 1, Beat: 1, By: "x", Session: "x", At: when})
		},
		"Record": func(ctx context.Context) error { return op.Record(ctx, role, eventAt(0)) },
	}
}

// untouched expects that nothing was decided and nothing recorded.
func (t *trial) untouched(l *Client, role, id, after string) {
	if st := t.look(l, role); !st.Pause.IsZero() {
		t.errorf("after %s the role is paused: %+v", after, st.Pause)
	}
	if s := t.configured(l, id); !s.IsZero() {
		t.errorf("after %s there is set: %+v", after, s)
	}
	if all := t.history(l, role); len(all) != 0 {
		t.errorf("after %s the history is %+v", after, all)
	}
}

func decisionsContextDone(t *trial) {
	l, role := t.open(), t.named("r")
	t.join(l, "a", role)
	done, cancel := context.WithCancel(t.ctx)
	cancel()
	op := t.operator(l)
	for name, call := range decisions(op, role, t.named("a")) {
		if err := call(done); isKnown(err) {
			t.errorf("%s under a context that is done: %s, want an error without a name", name, outcome(err))
		}
		t.untouched(l, role, t.named("a"), name+" under a context that is done")
	}
	if _, err := op.History(done, role); err == nil {
		t.errorf("History under a context that is done succeeds")
	}
	if _, err := op.Configured(done); err == nil {
		t.errorf("Configured under a context that is done succeeds")
	}
}

func decisionsContextObeyed(t *trial) {
	near, role := t.open(), t.named("r")
	t.join(near, "a", role)
	op := t.operator(near)
	all := decisions(op, role, t.named("a"))
	all["History"] = func(ctx context.Context) error { _, err := op.History(ctx, role); return err }
	all["Configured"] = func(ctx context.Context) error { _, err := op.Configured(ctx); return err }
	t.network("cut", near.Cut)
	for name, call := range all {
		ctx, cancel := context.WithTimeout(t.ctx, 200*time.Millisecond)
		t.obeys(ctx, name, call)
		cancel()
	}
	t.network("heal", near.Heal)
	t.resume(near, role)
	t.configure(near, t.named("a"), lock.Settings{})
}

func decisionsRefused(t *trial) {
	l, role, id := t.open(), t.named("r"), t.named("a")
	t.join(l, "a", role)
	op := t.operator(l)
	long := strings.Repeat("x", lock.MaxText+1)
	pause := func(role string, p lock.Pause) error {
		return t.known("pause", func(ctx context.Context) error { return op.Pause(ctx, role, p) })
	}
	set := func(id string, s lock.Settings) error {
		return t.known("configure", func(ctx context.Context) error { return op.Configure(ctx, id, s) })
	}
	record := func(role string, change func(e *lock.Event)) error {
		e := eventAt(0)
		change(&e)
		return t.known("record", func(ctx context.Context) error { return op.Record(ctx, role, e) })
	}
	fence := func(role string, change func(f *lock.Fence)) error {
		f := lock.Fence{Token: 1, Beat: 1, By: "x", Session: "x", At: when}
		change(&f)
		return t.known("fence", func(ctx context.Context) error { return op.Fence(ctx, role, f) })
	}
	many := lock.Settings{By: "x", Priorities: map[string]int{}}
	for i := range lock.MaxSettings / lock.MaxName {
		many.Priorities[fmt.Sprintf("%0*d", lock.MaxName, i)] = i
	}
	bad := map[string]error{
		"a pause by nobody":                     pause(role, lock.Pause{Why: "x"}),
		"a pause with a long reason":            pause(role, lock.Pause{By: "x", Why: long}),
		"a pause with a control character":      pause(role, lock.Pause{By: "x", Why: "\x1b[31m"}),
		"a pause that ends before it begins":    pause(role, lock.Pause{By: "x", At: when, Until: when.Add(-1)}),
		"settings by nobody":                    set(id, lock.Settings{Drained: true}),
		"settings of too great a priority":      set(id, lock.Settings{By: "x", Priorities: map[string]int{role: lock.MaxPriority + 1}}),
		"settings for no role":                  set(id, lock.Settings{By: "x", Priorities: map[string]int{"": 1}}),
		"settings for too many roles":           set(id, many),
		"an intent by nobody":                   fence(role, func(f *lock.Fence) { f.By = "" }),
		"an intent of no session":               fence(role, func(f *lock.Fence) { f.Session = "" }),
		"an intent about an absence":            fence(role, func(f *lock.Fence) { f.Beat = lock.Absent }),
		"an intent about any beat":              fence(role, func(f *lock.Fence) { f.Beat = lock.AnyBeat }),
		"an event by nobody":                    record(role, func(e *lock.Event) { e.By = "" }),
		"an event of no kind":                   record(role, func(e *lock.Event) { e.Kind = "" }),
		"an event at no time":                   record(role, func(e *lock.Event) { e.At = time.Time{} }),
		"an event with a long detail":           record(role, func(e *lock.Event) { e.Detail = long }),
		"an event with too many parts":          record(role, func(e *lock.Event) { e.Parts = make([]lock.Part, lock.MaxParts+1) }),
		"an event with a part without a name":   record(role, func(e *lock.Event) { e.Parts = []lock.Part{{}} }),
		"an event with an unprintable \"from\"": record(role, func(e *lock.Event) { e.From = "a\nb" }),
	}
	for _, name := range []string{"", "a\x00b", "\xff", strings.Repeat("x", lock.MaxName+1)} {
		bad[fmt.Sprintf("a pause of role %q", name)] = pause(name, pauseFor("x"))
		bad[fmt.Sprintf("settings for %q", name)] = set(name, lock.Settings{By: "x", Drained: true})
		bad[fmt.Sprintf("an intent about role %q", name)] = fence(name, func(*lock.Fence) {})
		bad[fmt.Sprintf("an event of role %q", name)] = record(name, func(*lock.Event) {})
		bad[fmt.Sprintf("the history of role %q", name)] = t.known("history", func(ctx context.Context) error {
			_, err := op.History(ctx, name)
			return err
		})
	}
	for what, err := range bad {
		t.expect(err, lock.ErrPermanent, what)
	}
	t.untouched(l, role, id, "bad input")
}
