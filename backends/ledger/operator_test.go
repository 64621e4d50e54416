package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// TestAPauseComesFirst: whatever was read before it, nobody takes a role that is paused, and
// nothing is asked of its term. What else a call would have said, it says still.
func TestAPauseComesFirst(t *testing.T) {
	l, token := active()
	apply(l, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "b", Session: "b"}, Bids: []lock.Bid{{Role: "r"}}})
	ask := ledger.Command{Op: ledger.Ask, Role: "r", Request: lock.Request{Token: token, To: "b"}}
	apply(l, ask)
	p := lock.Pause{By: "op", Why: "maintenance", At: noon}
	if r := apply(l, ledger.Command{Op: ledger.Pause, Role: "r", Pause: p}); r.Err() != nil || !r.Changed {
		t.Fatalf("%+v", r)
	}
	if st := l.Standing("r"); st.Pause != p || st.Request != (lock.Request{}) || st.Term.Vacant() {
		t.Errorf("%+v", st)
	}
	named := func(what string, c ledger.Command, want error) {
		t.Helper()
		before := state(l)
		if r := apply(l, c); !errors.Is(r.Err(), want) || want != nil && !strings.Contains(r.Err().Error(), `role "r" is paused by "op"`) || state(l) != before {
			t.Errorf("%s: %v", what, r.Err())
		}
	}
	give := ledger.Command{Op: ledger.Handoff, Session: "s", Role: "r", Token: token, To: "b"}
	named("ask", ask, lock.ErrMoved)
	named("a handoff", give, lock.ErrGone)
	named("its holder", ledger.Command{Op: ledger.Acquire, Session: "s", Role: "r"}, nil)
	if r := apply(l, ledger.Command{Op: ledger.Acquire, Session: "b", Role: "r", Token: token}); !errors.Is(r.Err(), lock.ErrHeld) {
		t.Errorf("held: %v", r.Err())
	}
	apply(l, ledger.Command{Op: ledger.Release, Session: "s", Role: "r", Token: token})
	acquire := ledger.Command{Op: ledger.Acquire, Session: "b", Role: "r", Token: token}
	named("once it is vacant", acquire, lock.ErrMoved)
	apply(l, ledger.Command{Op: ledger.Pause, Role: "r"})
	if r := apply(l, acquire); r.Err() != nil {
		t.Errorf("resumed: %v", r.Err())
	}
	apply(l, ledger.Command{Op: ledger.Handoff, Session: "b", Role: "r", Token: l.Roles["r"].Term.Token, To: "s"})
	apply(l, ledger.Command{Op: ledger.Pause, Role: "r", Pause: p})
	if r := apply(l, ledger.Command{Op: ledger.Handoff, Session: "b", Role: "r", Token: l.Roles["r"].Previous, To: "s"}); r.Err() != nil {
		t.Errorf("a handoff that was made before the pause: %v", r.Err())
	}
}

// TestDecisionsAreKept, in a snapshot's JSON too, and leave no trace when they are undone.
func TestDecisionsAreKept(t *testing.T) {
	l, _ := active()
	before := state(l)
	apply(l, ledger.Command{Op: ledger.Pause, Role: "never", Pause: lock.Pause{By: "op"}})
	set := lock.Settings{By: "op", At: noon, Drained: true, Priorities: map[string]int{"r": 7}}
	apply(l, ledger.Command{Op: ledger.Configure, Contender: lock.Contender{ID: "c"}, Settings: set})
	e := lock.Event{At: noon, By: "a", Kind: lock.Began, Token: 2, Parts: []lock.Part{{Name: "work", Took: time.Second}}}
	apply(l, ledger.Command{Op: ledger.Record, Role: "r", Event: e})
	data, err := json.Marshal(l)
	copied := ledger.New()
	if err := errors.Join(err, json.Unmarshal(data, copied)); err != nil || !reflect.DeepEqual(l, copied) {
		t.Fatalf("%v: %+v, want %+v", err, copied, l)
	}
	if got := apply(copied, ledger.Command{Op: ledger.Configured}).Settings; !reflect.DeepEqual(got, map[string]lock.Settings{"c": set}) {
		t.Errorf("%+v", got)
	}
	history := apply(copied, ledger.Command{Op: ledger.History, Role: "r"}).History
	if !reflect.DeepEqual(history, []lock.Event{e}) {
		t.Errorf("%+v", history)
	}
	history[0].Parts[0].Name = "changed"
	if copied.History["r"][0].Parts[0].Name != "work" {
		t.Error("who reads a history can change it")
	}
	apply(l, ledger.Command{Op: ledger.Pause, Role: "never"})
	apply(l, ledger.Command{Op: ledger.Configure, Contender: lock.Contender{ID: "c"}, Settings: lock.Settings{By: "op"}})
	l.History = nil
	if after := state(l); after != before {
		t.Errorf("%s\nbecame\n%s", before, after)
	}
}

// TestSettingsCount in place of what a contender bids, and for no other role.
func TestSettingsCount(t *testing.T) {
	l, _ := active()
	for _, id := range []string{"b", "c"} {
		apply(l, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: id, Session: lock.SessionID(id)}, Bids: []lock.Bid{{Role: "r", Priority: 1}, {Role: "q"}}})
	}
	apply(l, ledger.Command{Op: ledger.Configure, Contender: lock.Contender{ID: "c"}, Settings: lock.Settings{By: "op", Priorities: map[string]int{"r": 2}}})
	apply(l, ledger.Command{Op: ledger.Configure, Contender: lock.Contender{ID: "a"}, Settings: lock.Settings{By: "op", Drained: true, Priorities: map[string]int{"q": 3}}})
	st := l.Standing("r")
	if st.Line[0].ID != "c" || st.Line[0].Priority != 2 || st.Line[0].Settings.Priorities["r"] != 2 || st.Line[1].ID != "b" || !st.Line[1].Settings.IsZero() {
		t.Errorf("%+v", st.Line)
	}
	if h := st.Term.Holder; !h.Settings.Drained || h.Settings.Priorities != nil {
		t.Errorf("%+v", h)
	}
	if st := l.Standing("q"); st.Line[0].ID != "b" || st.Line[1].Settings.By != "" {
		t.Errorf("%+v", st.Line)
	}
}

// TestDecisionsAreBounded: one more than the limit is refused, and one that replaces another is not.
func TestDecisionsAreBounded(t *testing.T) {
	l := ledger.New()
	pause := func(role string) error {
		return apply(l, ledger.Command{Op: ledger.Pause, Role: role, Pause: lock.Pause{By: "op"}}).Err()
	}
	for i := range ledger.MaxDecisions {
		if err := pause(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := pause("one more"); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), fmt.Sprint(ledger.MaxDecisions)) {
		t.Errorf("%v", err)
	}
	if err := pause("0"); err != nil {
		t.Error(err)
	}
}

// TestWatchOfAllShowsTheLastOfARole, when nobody bids for it and nothing is left of it.
func TestWatchOfAllShowsTheLastOfARole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.New().Open()
		defer l.Close()
		op, ctx := l.(lock.Operator), t.Context()
		var shown []string
		go func() {
			for st, err := range l.Watch(ctx) {
				shown = append(shown, fmt.Sprintln(st.Role, !st.Pause.IsZero(), len(st.Line), err))
			}
		}()
		see := func(err error, want string) {
			t.Helper()
			if synctest.Wait(); err != nil || len(shown) == 0 || shown[len(shown)-1] != want {
				t.Errorf("%v: %q, want %q", err, shown, want)
			}
		}
		see(op.Pause(ctx, "q", lock.Pause{By: "op"}), "q true 0 <nil>\n")
		see(op.Pause(ctx, "q", lock.Pause{}), "q false 0 <nil>\n")
		s, err := l.Register(ctx, lock.Contender{ID: "a", Session: "s"}, lock.Promise{TTL: time.Second}, lock.Bid{Role: "r"})
		see(err, "r false 1 <nil>\n")
		see(s.Close(ctx), "r false 0 <nil>\n")
		before := len(shown)
		if err := l.Raise(ctx, 5); err != nil || len(shown) != before {
			t.Errorf("%v: what is gone is shown again: %q", err, shown)
		}
	})
}

// TestWatchShowsNothingTwice: a change elsewhere is not shown as news of a role that is held, with nobody
// in line.
func TestWatchShowsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.New().Open()
		defer l.Close()
		op, ctx := l.(lock.Operator), t.Context()
		s, err := l.Register(ctx, lock.Contender{ID: "a", Session: "s"}, lock.Promise{TTL: time.Second})
		lab.Must(t, err)
		_, err = s.TryAcquire(ctx, "held")
		lab.Must(t, err)
		shown := map[string]int{}
		go func() {
			for st := range l.Watch(ctx) {
				shown[st.Role]++
			}
		}()
		for i := range 3 {
			synctest.Wait()
			lab.Must(t, op.Pause(ctx, "other", lock.Pause{By: "op", Why: fmt.Sprint(i)}))
		}
		synctest.Wait()
		if shown["held"] != 1 || shown["other"] != 3 {
			t.Errorf("shown so often: %v", shown)
		}
	})
}

// TestWhatEndsNoPauseWithdrawsNoRequest: a pause that ends none changes nothing.
func TestWhatEndsNoPauseWithdrawsNoRequest(t *testing.T) {
	l, token := active()
	ask := lock.Request{Token: token, To: "b"}
	if r := apply(l, ledger.Command{Op: ledger.Ask, Role: "r", Request: ask}); r.Err() != nil {
		t.Fatal(r.Err())
	}
	if r := apply(l, ledger.Command{Op: ledger.Pause, Role: "r"}); r.Err() != nil || l.Standing("r").Request != ask {
		t.Errorf("%v: %+v, want %+v", r.Err(), l.Standing("r").Request, ask)
	}
}
